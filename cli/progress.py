"""How training shows itself on stderr: one living line on a terminal, plain lines when piped."""

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earkit.distill.pretrain import StepReport

PLAIN_EVERY = 10.0  # seconds between plain lines


def say(sentence: str) -> None:
    """Talk to the person, not to the pipe."""
    print(sentence, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Write 3725 as 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressLine:
    """Call it with each report."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, report: "StepReport") -> None:
        """Show one report, or skip it when the last plain line is recent."""
        text = (
            f"step {report.step}{f'/{report.steps}' if report.steps else ''}  loss {report.loss:.3f}  "
            f"ppl {_list(report.target_perplexity)} predicted {_list(report.prediction_perplexity)}  "
            f"codes {_list(report.active_codes)}  lr {report.lr:.1e}  "
            f"{report.audio_per_second:.0f} s/s  left {clock(report.eta)}"
        )
        if report.skipped:
            text += f"  skipped {report.skipped}"
        if self.terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._last > PLAIN_EVERY or report.step == report.steps:
            self._last = time.monotonic()
            say(text)

    def close(self) -> None:
        """End the living line."""
        if self.terminal:
            print(file=sys.stderr)


def _list(values: list[float] | list[int]) -> str:
    return "/".join(f"{value:.0f}" for value in values)
