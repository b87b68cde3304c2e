"""An axis of a plot: from values to pixels, between round ticks, linear or logarithmic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from earkit.runtime.errors import DataError

MOST_TICKS = 6  # of a linear axis, about
ONE_TWO_FIVE = (1, 2, 5)


@dataclass(frozen=True)
class Axis:
    """Its first tick lies at the pixel `start`, its last one at `end`; that of y begins below."""

    ticks: tuple[float, ...]
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Give the pixel of a value."""
        low, here, high = (math.log10(v) if self.log else v for v in (self.ticks[0], value, self.ticks[-1]))
        return self.start + (self.end - self.start) * (here - low) / (high - low)


def axis(values: Sequence[float], start: float, end: float, *, log: bool = False) -> Axis:
    """Make the axis on which all values have a place."""
    if not values:
        raise DataError("a plot of nothing has no axis: leave it out where there are no values")
    if not all(math.isfinite(value) and (value > 0 or not log) for value in values):
        wanted = "finite and above 0" if log else "finite"
        raise DataError(
            f"a plot has no place for {min(values)} to {max(values)}: give values that are {wanted}"
        )
    ticks = _log_ticks(min(values), max(values)) if log else _linear_ticks(min(values), max(values))
    return Axis(tuple(ticks), start, end, log)


def tick_text(value: float) -> str:
    """Write 2500000 as 2.5M, 20000 as 20k, and what is smaller as it is."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:g}"


def _linear_ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, around the values."""
    rough = ((high - low) or abs(high) or 1) / (MOST_TICKS - 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (*ONE_TWO_FIVE, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if first == last:
        first, last = first - 1, last + 1
    return [step * i for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 ..., around the values; powers of ten alone where they reach far."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    kept = ONE_TWO_FIVE if last - first <= 3 else (1,)
    ticks = [m * 10.0**power for power in range(first - 1, last + 2) for m in kept]
    below = max(i for i, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    above = min(i for i, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    if below == above:
        below, above = below - 1, above + 1
    return ticks[below : above + 1]
