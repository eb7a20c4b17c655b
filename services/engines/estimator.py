"""Will it fit? Estimates for the catalogue's models on this machine, and what engines take in fact."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from services.engines.corrections import Corrections, factor
from services.engines.fitting import Question, answer
from services.engines.hardware import Machine, read_machine
from services.engines.known_shapes import KnownShapes, Models
from services.engines.memory import Estimate, ModelShape
from services.engines.options import DeploymentSettings
from services.engines.usage import MemoryOf

FRESH_S = 1.0  # a page asks about every variant of every model at once

DeviceOf = Callable[[str, DeploymentSettings], str]  # model id, settings → cpu or cuda
Seen = TypeVar("Seen")


class Fresh(Generic[Seen]):
    """What `read` returned at most FRESH_S ago."""

    def __init__(self, read: Callable[[], Seen], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._last: tuple[float, Seen] | None = None

    def __call__(self) -> Seen:
        last, now = self._last, self._clock()
        if last is None or now - last[0] > FRESH_S:
            last = self._last = (now, self._read())
        return last[1]


class Estimator:
    """Thread-safe."""

    def __init__(
        self,
        models: Models,
        corrections: Corrections,
        *,
        machine: Callable[[], Machine] = read_machine,
        device_of: DeviceOf | None = None,
    ) -> None:
        """device_of: where the engine computes (its launcher knows); default: on GPUs where there are any."""
        self._models = models
        self._observations = Fresh(corrections.observations)
        self._machine_now = machine
        self._machine = Fresh(machine)
        self._device_of = device_of
        self._shapes = KnownShapes(models)
        self.memory_of = MemoryOf(lambda: machine().gpus)

    def estimate(self, model_id: str, settings: DeploymentSettings, freed_mib: float = 0.0) -> Estimate | None:
        """Against what is free now and what a deployment that stops will give back; None when it cannot be told.

        A model served elsewhere takes no memory here: None as well. Raises NotFound, and ModelFilesError when the
        model's files here are damaged.
        """
        shape = None if settings.engine == "external" else self._shapes.of(model_id)
        if shape is None:
            return None
        machine = self._machine()
        question = Question(
            shape=shape,
            machine=machine,
            engines=self._models.variant(model_id).engines,
            device_of=partial(self._device, model_id, machine),
            correction=partial(factor, self._observations(), model_id),
            freed_mib=freed_mib,
        )
        return answer(question, settings)

    def predicted_mib(self, model_id: str, settings: DeploymentSettings) -> float | None:
        """Uncorrected, to be kept beside what is measured."""
        estimate = self.estimate(model_id, settings)
        return estimate.predicted_mib if estimate else None

    def consult_hub(self, model_id: str) -> ModelShape:
        """Read the headers on the hub, seconds; later estimates use them. Raises FetchFailed, GatedModel, …"""
        return self._shapes.consult(model_id)

    def _device(self, model_id: str, machine: Machine, settings: DeploymentSettings) -> str:
        if self._device_of is not None:
            return self._device_of(model_id, settings)
        return "cuda" if machine.gpus.gpus else "cpu"
