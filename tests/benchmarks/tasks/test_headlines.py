"""Each task gives the figure that stands for it in tables."""

import pytest

from earkit.benchmarks.evaluation import HEADLINES, LOWER_IS_BETTER, NOT_A_SHARE
from earkit.benchmarks.representations import Representation
from earkit.benchmarks.tasks import units
from earkit.benchmarks.tasks.classification import Classification
from earkit.benchmarks.tasks.evaluate import TASKS, evaluate

TOLD = {name: task.score for name, task in TASKS.items() if isinstance(task.score, Classification)}


def test_every_task_has_one() -> None:
    assert HEADLINES.keys() == TASKS.keys()
    for name, score in TOLD.items():  # whose heads take long to fit
        assert HEADLINES[name] == ("balanced accuracy" if score.balanced else "accuracy")


@pytest.mark.usefixtures("corpora")
@pytest.mark.parametrize("name", [name for name in TASKS if name not in TOLD])
def test_headline(
    name: str, oracle: Representation, guesser: Representation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "DISTURBANCES", {})
    monkeypatch.setattr("earkit.benchmarks.tasks.kmeans_units.CLUSTERS", 8)
    knows, guesses = (
        {score.metric: score.value for score in evaluate(each, [TASKS[name]], 0)}[HEADLINES[name]]
        for each in (oracle, guesser)
    )
    if name not in NOT_A_SHARE:
        assert (knows < guesses) == (name in LOWER_IS_BETTER)
        assert 0 <= min(knows, guesses) <= max(knows, guesses) <= 1
