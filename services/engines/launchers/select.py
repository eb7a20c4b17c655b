"""Which launcher serves a model, and which engines could."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Protocol

from services.engines.hardware import Hardware
from services.engines.launchers.arguments import CheckedLauncher, KnownOptions
from services.engines.launchers.base import Launcher
from services.engines.launchers.external import ExternalLauncher, Remote
from services.engines.launchers.llama_cpp import LlamaCppLauncher
from services.engines.launchers.transformers import TransformersLauncher
from services.engines.launchers.vllm import VllmLauncher
from services.engines.options import DeploymentSettings, EngineKind
from services.errors import EngineUnavailable
from services.settings import Settings
from services.translation import N_

ENGINES_BY_FORMAT: dict[str, tuple[EngineKind, ...]] = {
    "safetensors": ("vllm", "transformers"),
    "gguf": ("llama_cpp",),
    "external": ("external",),
}


class Variant(Protocol):
    """What is needed of services.engines.catalogue.Variant."""

    @property
    def format(self) -> str: ...
    @property
    def engines(self) -> tuple[EngineKind, ...]: ...


class Variants(Protocol):
    """What is needed of services.engines.models.ModelStore."""

    def variant(self, model_id: str) -> Variant: ...


class Launchers:
    """One of each kind, made when first asked for."""

    def __init__(
        self,
        settings: Settings,
        models: Variants,
        read_hardware: Callable[[], Hardware],
        remote: Callable[[str], Remote],
    ) -> None:
        """remote: where an external model is served, by its model id."""
        self._models = models
        self._read_hardware = read_hardware
        self._remote = remote
        self._options = KnownOptions(settings.engines_dir.resolve() / "cache" / "options")

    def for_model(self, model_id: str, settings: DeploymentSettings) -> Launcher:
        """Raises NotFound, and EngineUnavailable when that engine does not read the model's format."""
        form = self._models.variant(model_id).format
        if settings.engine not in ENGINES_BY_FORMAT[form]:
            raise _mismatch(form, settings.engine)
        return self._launchers[settings.engine]

    @cached_property
    def _launchers(self) -> dict[EngineKind, Launcher]:
        hardware = self._read_hardware()
        local = (VllmLauncher(hardware), TransformersLauncher(hardware), LlamaCppLauncher(hardware))
        checked = {launcher.name: CheckedLauncher(launcher, self._options) for launcher in local}
        return {**checked, "external": ExternalLauncher(self._remote)}


def _mismatch(form: str, engine: EngineKind) -> EngineUnavailable:
    if form == "gguf":
        hint = N_("Choose the engine llama.cpp, or a variant of the model that is not GGUF.")
    elif form == "external":
        hint = N_("This model is served elsewhere; choose the engine external.")
    else:
        hint = N_("Choose the engine vLLM or transformers, or a GGUF variant of the model.")
    message = N_("The engine {engine} does not serve models of the format {format}.")
    return EngineUnavailable(message, hint=hint, engine=engine, format=form)
