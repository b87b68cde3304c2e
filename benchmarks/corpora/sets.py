"""All corpora, in the order in which they are fetched, and the choice of them."""

from collections.abc import Sequence

from earkit.benchmarks.corpora import (
    asterisk,
    digits,
    drascula,
    festvox,
    fillets,
    games,
    instruments,
    kajongg,
    ktuberling,
    noises,
    queen,
    sky,
    speakerbox,
    tuxpaint,
    uqm,
)
from earkit.benchmarks.corpora.recipe import Recipe, Use
from earkit.runtime.errors import ConfigError

RECIPES = (
    kajongg.RECIPE,
    speakerbox.RECIPE,
    festvox.RECIPE,
    digits.RECIPE,
    instruments.RECIPE,
    uqm.RECIPE,
    asterisk.CORE,
    asterisk.PROMPTS,
    tuxpaint.RECIPE,
    fillets.RECIPE,
    queen.RECIPE,
    ktuberling.RECIPE,
    sky.RECIPE,
    drascula.RECIPE,
    games.RECIPE,
    noises.RECIPE,
)


def choose(names: Sequence[str], uses: Sequence[Use] = (), *, non_free: bool = False) -> list[Recipe]:
    """Give the recipes of these names (`all`: every one) and uses, in the order of `RECIPES`.

    What is not free is left out of a choice by use or by `all`, and refused by its name, unless `non_free`.
    """
    known = {recipe.name: recipe for recipe in RECIPES}
    unknown = [name for name in names if name not in known and name != "all"]
    if unknown:
        raise ConfigError(f"there is no corpus {unknown[0]}; choose among all, {', '.join(known)}")
    refused = [name for name in names if name != "all" and not (known[name].free or non_free)]
    if refused:
        raise ConfigError(
            f"{refused[0]} is not free ({known[refused[0]].sources[0].licence}): add --non-free if its "
            "licence allows what you do with it; nothing that is passed on may be trained on it"
        )
    if not names and not uses:
        raise ConfigError("name a corpus, or all, or give --eval or --train")
    return [
        recipe
        for recipe in RECIPES
        if recipe.name in names or ((recipe.free or non_free) and ("all" in names or recipe.use in uses))
    ]
