"""When each step of a rollout began, seen from outside as a page sees it, ten milliseconds apart."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

from services.engines.deployments import Deployments
from services.engines.views import Step

LOOK_S = 0.01


class RolloutWatch:
    """Begin it before the switch is ordered. began: monotonic time of each step that was seen."""

    def __init__(self, portal: Deployments, *, not_this: object = None) -> None:
        """not_this: started_at of a rollout that is over already."""
        self.began: dict[Step, float] = {}
        self._portal = portal
        self._not_this = not_this
        self._thread = threading.Thread(target=self._watch, name="rollout-watch", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"the switch did not end: {self._portal.rollout()}"

    @property
    def steps_s(self) -> dict[str, float]:
        """Seconds that each step took, in their order."""
        return {str(step): round(end - begin, 2) for (step, begin), (_next, end) in pairwise(self.began.items())}

    def _watch(self) -> None:
        while not any(step.over for step in self.began):
            rollout = self._portal.rollout()
            if rollout is not None and rollout.started_at != self._not_this:
                self.began.setdefault(rollout.step, time.monotonic())
            time.sleep(LOOK_S)
