"""How training shows itself on stderr: one living line on a terminal, plain lines when piped."""

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earkit.distill.distillation import DistilReport
    from earkit.distill.pretrain import StepReport
    from earkit.distill.task import TaskReport
    from earkit.distill.training import Progress

PLAIN_EVERY = 10.0  # seconds between plain lines


def say(sentence: str) -> None:
    """Talk to the person, not to the pipe."""
    print(sentence, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Write 3725 as 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Line:
    """A living line on a terminal; when piped, plain lines with some time between them."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self._last = 0.0

    def show(self, text: str, *, last: bool = False) -> None:
        """Show a text in the place of the one before, or skip it when the last plain line is recent."""
        if self.terminal:
            print(f"\r\x1b[K{text}", end="\n" if last else "", file=sys.stderr, flush=True)
        elif time.monotonic() - self._last > PLAIN_EVERY or last:
            self._last = time.monotonic()
            say(text)

    def close(self) -> None:
        """End the living line."""
        if self.terminal:
            print(file=sys.stderr)


class ProgressLine(Line):
    """Pretraining: call it with each report."""

    def __call__(self, report: "StepReport") -> None:
        """Show one report."""
        self.show(
            f"{_step(report)}  "
            f"ppl {_list(report.target_perplexity)} predicted {_list(report.prediction_perplexity)}  "
            f"codes {_list(report.active_codes)}  {_pace(report)}"
        )


class DistilLine(Line):
    """Distillation: call it with each report; what the student has kept stands on lines of its own."""

    def __call__(self, report: "DistilReport") -> None:
        """Show one report."""
        parts = "  ".join(f"{name} {value:.3g}" for name, value in report.parts.items())
        text = f"{_step(report)}  ({parts})  {_pace(report)}"
        if not report.held_out:
            self.show(text)
            return
        self.show(text, last=True)
        kept = {name: value for name, value in report.held_out.items() if name != "unit_edit_distance"}
        shown = [f"{name} {value:.1%} of the teacher's" for name, value in kept.items()]
        if len(kept) < len(report.held_out):
            shown.append(f"unit edit distance {report.held_out['unit_edit_distance']:.3f}")
        say(f"step {report.step}, held out: {', '.join(shown)}")


class RecoveryLine(Line):
    """Recovery of a pruned teacher: call it with each report."""

    def __call__(self, report: "Progress") -> None:
        """Show one report."""
        self.show(f"{_step(report)}  {_pace(report)}", last=report.step == report.steps)


class TaskLine(Line):
    """The task stage: call it with each report of any phase."""

    def __call__(self, report: "TaskReport") -> None:
        """Show one report; where accuracy was measured on what is held out, on a line of its own."""
        shown = [f"{name.replace('_', ' ')} {value:.1%}" for name, value in report.accuracy.items()]
        text = f"{report.phase.replace('_', ' ')}: {_step(report)}  {'  '.join(shown)}  {_pace(report)}"
        self.show(text, last="held_out" in report.accuracy)


class CountLine(Line):
    """Call it with how many of how many are done."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def __call__(self, done: int, total: int) -> None:
        """Show the share."""
        self.show(f"{self.what}: {done} of {total}", last=done >= total)


def _step(report: "Progress") -> str:
    return f"step {report.step}{f'/{report.steps}' if report.steps else ''}  loss {report.loss:.3f}"


def _pace(report: "Progress") -> str:
    skipped = f"  skipped {report.skipped}" if report.skipped else ""
    return f"lr {report.lr:.1e}  {report.audio_per_second:.0f} s/s  left {clock(report.eta)}{skipped}"


def _list(values: list[float] | list[int]) -> str:
    return "/".join(f"{value:.0f}" for value in values)
