"""How training shows itself: a living line on a terminal, plain lines now and then in a pipe."""

import sys
from collections.abc import Callable

import pytest

from earkit.cli import progress
from earkit.cli.progress import CountLine, DistilLine, Line, ProgressLine, TaskLine, clock, say
from earkit.distill.distillation import DistilReport
from earkit.distill.pretrain import StepReport
from earkit.distill.task import TaskReport

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def pipe(capsys: Captured) -> Captured:
    return capsys


@pytest.fixture
def terminal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Captured]:
    """Make a terminal of what is captured; only in the test itself is it the stderr that is shown on."""

    def make() -> Captured:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        return capsys

    return make


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock says; it began long ago."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


SHOWN = {
    "step": 20,
    "steps": 100,
    "loss": 1.2346,
    "lr": 5e-4,
    "grad_norm": 1.0,
    "audio_seconds": 800.0,
    "audio_per_second": 123.4,
    "elapsed": 6.5,
    "eta": 61.0,
    "skipped": 0,
    "phases": {},
}


def distilled(**changed: object) -> DistilReport:
    parts = {"relations": 0.61234, "stella": 1.5}
    return DistilReport(**{**SHOWN, "parts": parts, "held_out": {}, "dead_latents": 0, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_clock(seconds: float, written: str) -> None:
    assert clock(seconds) == written


def test_talk_goes_to_stderr(capsys: Captured) -> None:
    say("a sentence")
    assert capsys.readouterr() == ("", "a sentence\n")


def test_a_terminal_has_one_line_that_lives(terminal: Callable[[], Captured]) -> None:
    shown = terminal()
    line = Line()
    line.show("one")
    line.show("two")
    line.close()
    assert shown.readouterr().err == "\r\x1b[Kone\r\x1b[Ktwo\n"


def test_a_pipe_gets_a_line_every_ten_seconds_and_the_last(pipe: Captured, at: list[float]) -> None:
    line = Line()
    for seconds in (0, 4, 11, 12):
        at[0] = 1000.0 + seconds
        line.show(f"at {seconds}")
    line.show("the end", last=True)
    line.close()
    assert pipe.readouterr().err == "at 0\nat 11\nthe end\n"


def test_distillation_shows_its_losses(pipe: Captured, at: list[float]) -> None:
    DistilLine()(distilled())
    assert pipe.readouterr().err == (
        "step 20/100  loss 1.235  (relations 0.612  stella 1.5)  lr 5.0e-04  123 s/s  left 1:01\n"
    )


def test_what_the_student_has_kept_stands_on_a_line_of_its_own(terminal: Callable[[], Captured]) -> None:
    shown = terminal()
    line = DistilLine()
    line(distilled(skipped=3, steps=0))
    line(distilled(held_out={"phones": 0.953, "words": 1.0, "unit_edit_distance": 0.25}))
    living, table, rest = shown.readouterr().err.split("\n")
    assert living.count("\r\x1b[K") == 2
    assert "step 20  loss" in living
    assert "skipped 3" in living
    assert table == (
        "step 20, held out: phones 95.3% of the teacher's, words 100.0% of the teacher's, "
        "unit edit distance 0.250"
    )
    assert rest == ""


def test_pretraining_shows_its_codebooks(pipe: Captured, at: list[float]) -> None:
    lists = {"target_perplexity": [10.4, 3.0], "prediction_perplexity": [8.6], "active_codes": [12, 5]}
    ProgressLine()(StepReport(**SHOWN, ema_decay=0.9, rankme=3.0, **lists))  # type: ignore[arg-type]
    assert "ppl 10/3 predicted 9  codes 12/5" in pipe.readouterr().err


def test_the_task_stage_shows_its_phase_and_accuracy(pipe: Captured, at: list[float]) -> None:
    line = TaskLine()
    for accuracy in ({"views": 0.5}, {"views": 0.625}, {"views": 0.75, "held_out": 0.8}):
        line(TaskReport(**SHOWN, phase="teacher_finetuned", accuracy=accuracy, parts={}))  # type: ignore[arg-type]
    first, last = pipe.readouterr().err.splitlines()  # the second one came too soon
    assert first.startswith("teacher finetuned: step 20/100  loss 1.235  views 50.0%  lr")
    assert "views 75.0%  held out 80.0%" in last


def test_counting_ends_with_the_whole(pipe: Captured, at: list[float]) -> None:
    line = CountLine("segments")
    for done in (1, 2, 3):
        line(done, 3)
    assert pipe.readouterr().err == "segments: 1 of 3\nsegments: 3 of 3\n"
