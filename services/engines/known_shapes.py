"""Shapes of the catalogue's models: from the files here, from the headers on a hub, or from the catalogue's numbers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from services.engines.memory import ModelShape
from services.engines.options import EngineKind
from services.engines.shapes import Counts, ModelFiles, local_files, read_shape, shape_from_counts
from services.errors import ModelFilesError, PortalError
from services.translation import N_

ASK_AGAIN_S = 600  # a hub that did not answer

log = logging.getLogger(__name__)


class Entry(Protocol):
    @property
    def parameters(self) -> int: ...
    @property
    def shape(self) -> Counts | None: ...


class Variant(Protocol):
    """What is needed of services.engines.entries.Variant."""

    @property
    def bits(self) -> float: ...
    @property
    def format(self) -> str: ...
    @property
    def quantization(self) -> str: ...
    @property
    def converts(self) -> bool: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def engines(self) -> tuple[EngineKind, ...]: ...


class RemoteFile(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...


class Models(Protocol):
    """What is needed of services.engines.models.ModelStore."""

    def entry(self, model_id: str) -> Entry: ...
    def variant(self, model_id: str) -> Variant: ...
    def ready(self, model_id: str) -> bool: ...
    def path(self, model_id: str) -> Path: ...
    def remote_files(self, model_id: str) -> Sequence[RemoteFile]: ...
    def read_remote(self, model_id: str, name: str, start: int, length: int) -> bytes: ...


class KnownShapes:
    """Thread-safe. What was read is remembered until the files change."""

    def __init__(self, models: Models, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._models = models
        self._clock = clock
        self._local: dict[str, tuple[float, ModelShape]] = {}
        self._remote: dict[str, ModelShape] = {}
        self._asked: dict[str, float] = {}

    def of(self, model_id: str) -> ModelShape | None:
        """Never waits for a network. None: not known, or not yet (the hub is being asked, where only that can help).

        Raises NotFound, and ModelFilesError when the files here are damaged.
        """
        if self._models.variant(model_id).format == "external":
            return None
        if self._models.ready(model_id):
            return self._of_files(model_id)
        if model_id in self._remote:
            return self._remote[model_id]
        entry, variant = self._models.entry(model_id), self._models.variant(model_id)
        if entry.shape is None or not entry.parameters:
            self._consult_in_background(model_id)
            return None
        smaller = variant.format == "gguf" or variant.quantization != "none"
        return shape_from_counts(
            entry.shape, entry.parameters, variant.bits, quantized=smaller, size_bytes=variant.size_bytes
        )

    def consult(self, model_id: str) -> ModelShape:
        """From the headers on the hub, exactly; seconds.

        Raises FetchFailed, GatedModel, UnsafeModel, ModelFilesError.
        """
        sizes = {file.name: file.size for file in self._models.remote_files(model_id)}
        if not sizes:
            raise ModelFilesError(N_("The hub does not say what files the model has."))
        files = ModelFiles(sizes, lambda name, start, length: self._models.read_remote(model_id, name, start, length))
        shape = read_shape(files)
        if self._models.variant(model_id).converts:
            shape = _converted(shape)
        self._remote[model_id] = shape
        return shape

    def _of_files(self, model_id: str) -> ModelShape:
        path = self._models.path(model_id)
        changed_at = path.stat().st_mtime
        known = self._local.get(model_id)
        if known is None or known[0] != changed_at:
            known = (changed_at, read_shape(local_files(path)))
            self._local[model_id] = known
        return known[1]

    def _consult_in_background(self, model_id: str) -> None:
        now = self._clock()
        if now - self._asked.get(model_id, -ASK_AGAIN_S) >= ASK_AGAIN_S:
            self._asked[model_id] = now
            threading.Thread(target=self._try_to_consult, args=(model_id,), daemon=True).start()

    def _try_to_consult(self, model_id: str) -> None:
        try:
            self.consult(model_id)
        except PortalError as error:
            log.info("the shape of %s is not known: %s", model_id, error)


def _converted(shape: ModelShape) -> ModelShape:
    """A GGUF that is converted to safetensors is served in 16 bits."""
    return replace(shape, quantized=False, stored_bits=16.0, weight_bytes=shape.parameters * 2)
