"""What each round has, by counting."""

from pathlib import Path

import pytest

from earkit.compress.prune_config import Target
from earkit.compress.prune_cost import Cost
from earkit.compress.prune_rounds import Budget, begin, budget_of, names, round_folder, steps_of
from earkit.distill.config import read_toml
from earkit.distill.training import LoopConfig
from earkit.runtime.errors import ConfigError

WHOLE = Cost(parameters=1000, multiply_adds=50_000)


@pytest.mark.parametrize(("steps", "rounds"), [(10, 3), (9, 3), (5, 5), (7, 1)])
def test_all_steps_are_shared_and_the_last_round_has_the_rest(steps: int, rounds: int) -> None:
    shares = [steps_of(number, rounds, steps) for number in range(1, rounds + 1)]
    assert sum(shares) == steps
    assert set(shares[:-1]) <= {steps // rounds}
    assert shares[-1] == steps // rounds + steps % rounds


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (Target(params=0.6), Budget("parameters", 1000, 600.0)),
        (Target(params=1.0), Budget("parameters", 1000, 1000.0)),
        (Target(params=700), Budget("parameters", 1000, 700.0)),
        (Target(macs=0.5), Budget("multiply_adds", 50_000, 25_000.0)),
    ],
)
def test_a_target_becomes_a_count(target: Target, wanted: Budget) -> None:
    made = budget_of(target, WHOLE)
    assert made == wanted
    assert made.spent(WHOLE) == wanted.now


def test_a_budget_falls_in_even_steps() -> None:
    budget = Budget("parameters", 1000, 400)
    assert [budget.after(done, 3) for done in range(4)] == [1000, 800, 600, 400]


def test_a_run_begins_with_its_configuration_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(LoopConfig(steps=7), tmp_path / "run")
    assert read_toml(tmp_path / "run" / "config.toml")["steps"] == 7
    assert round_folder(tmp_path, 2) == tmp_path / "round-2"
    assert names(3) == ["before", "round 1", "round 2"]

    class Two:
        num_processes = 2

    monkeypatch.setattr("earkit.compress.prune_rounds.processes", Two)
    with pytest.raises(ConfigError, match="one process"):
        begin(LoopConfig(), tmp_path / "other")
    assert not (tmp_path / "other").exists()
