"""How long each step of a request takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Clock = Callable[[], float]  # seconds of a monotonic clock


class Stopwatch:
    """Milliseconds by step, in the order first measured. Belongs to one request."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._started = clock()
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the block to the step, also when the block fails."""
        begin = self._clock()
        try:
            yield
        finally:
            self.add(name, (self._clock() - begin) * 1000)

    def add(self, name: str, duration_ms: float) -> None:
        self.timings_ms[name] = round(self.timings_ms.get(name, 0.0) + duration_ms, 3)

    def now(self) -> float:
        """Seconds of the clock."""
        return self._clock()

    def stop(self) -> None:
        """Set the step `total`: from the making of this stopwatch until now."""
        self.timings_ms["total"] = round((self._clock() - self._started) * 1000, 3)
