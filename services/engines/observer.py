"""What is seen of one deployment's engine while it runs: readings for the charts, its memory, whether anybody asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from services.engines.background import BackgroundCall
from services.engines.deployment_rows import DeploymentRows
from services.engines.metrics import Recorder
from services.engines.views import Sample

if TYPE_CHECKING:
    from services.engines.engine import Engine
    from services.engines.launchers.base import Launcher

SAMPLE_S = 5.0
GPU_TOLERANCE_MIB = 200.0
GPU_PATIENCE_S = 20.0

MemoryOf = Callable[[list[int], str], float | None]  # MiB taken by these processes on the device (cpu, cuda)


class Observer:
    """Used by the supervisor's thread; samples() by anybody."""

    def __init__(
        self,
        rows: DeploymentRows,
        memory_of: MemoryOf,
        idle_s: Callable[[float], float | None],
        running: Callable[[], int],
    ) -> None:
        """idle_s: seconds without a request, counted from a monotonic time at the earliest; None while one runs.

        running: requests of the portal that the engine is answering.
        """
        self.running = running
        self.engine_version = ""
        self.device = "cpu"
        self.ready_at = 0.0  # monotonic
        self._rows = rows
        self._memory_of = memory_of
        self._idle_s = idle_s
        self._recorder = Recorder()
        self._call: BackgroundCall | None = None
        self._next_at = 0.0
        self._start_id: int | None = None
        self._memory_mib = 0.0

    def launched(self, launcher: Launcher) -> None:
        self.engine_version, self.device = launcher.version(), launcher.device

    def ready(self, engine: Engine, start_id: int | None) -> None:
        """start_id: of the row that this engine's memory belongs to; None for one that another portal started."""
        self.ready_at = time.monotonic()
        self._start_id, self._memory_mib = start_id, 0.0
        self._next_at = 0.0
        self._recorder = Recorder()

    def observe(self, engine: Engine) -> None:
        """Take a sample when it is time for one; returns at once."""
        if time.monotonic() >= self._next_at and (self._call is None or self._call.done):
            self._next_at = time.monotonic() + SAMPLE_S
            self._call = BackgroundCall(lambda: self._sample(engine), lambda: None)

    def idle_too_long(self, limit_s: float) -> bool:
        """limit_s: 0 for never."""
        if not limit_s:
            return False
        idle_s = self._idle_s(self.ready_at)
        return idle_s is not None and idle_s >= limit_s

    def gpu_memory_is_back(self, pids: list[int]) -> bool:
        """Whether processes that have ended hold no GPU memory any more, or so within GPU_PATIENCE_S."""
        deadline = time.monotonic() + GPU_PATIENCE_S
        while self.device == "cuda" and (self._memory_of(pids, "cuda") or 0.0) > GPU_TOLERANCE_MIB:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return True

    def uptime_s(self) -> float:
        """Seconds since the engine became ready, or was found ready."""
        return time.monotonic() - self.ready_at

    def samples(self) -> list[Sample]:
        return self._recorder.samples()

    def _sample(self, engine: Engine) -> None:
        memory_mib = self._memory_of(engine.process.members(), self.device)
        self._recorder.add(engine.probe.reading(), memory_mib)
        if self._start_id is not None and memory_mib and memory_mib > self._memory_mib * 1.01:
            self._memory_mib = memory_mib
            self._rows.note_memory(self._start_id, memory_mib)
