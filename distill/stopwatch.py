"""Where the time of a training step goes."""

import time


class Stopwatch:
    """Adds the seconds since the last lap to a named phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """End the phase that ran until now."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """Return the seconds per phase since the last take."""
        taken, self.seconds = self.seconds, {}
        return taken
