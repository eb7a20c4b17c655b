"""`transformers serve`: any model that transformers knows, and bitsandbytes weights. Slower than vLLM, less memory.

Options were read in the source of transformers 5.19 (transformers/cli/serve.py, cli/serving/model_manager.py):
bnb-4bit is NF4 with double quantisation. It answers one request after another: its continuous batching takes the
temperature of the first request for all that follow (cli/serving/chat_completion.py), so it stays off.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from services.engines.hardware import Hardware
from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.engines.options import DeploymentSettings
from services.errors import EngineUnavailable
from services.translation import N_

PROGRAM = Path(__file__).parent / "children" / "transformers_serve.py"
KEY_VARIABLE = "ENGINE_API_KEY"
QUIET_AND_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
    "PYTHONUNBUFFERED": "1",
}


class TransformersLauncher:
    """context_tokens and max_num_seqs bound nothing here: the engine has no such limits. Nor have kv_cache_gib,
    gpu_memory_utilization, enforce_eager and prefix_caching a meaning. tensor_parallel above 1: layers are spread over
    all GPUs.

    bitsandbytes also computes on CPUs. The CUDA branch follows the source and has never run on a GPU.
    """

    name = "transformers"

    def __init__(self, hardware: Hardware, *, cuda_build: bool | None = None) -> None:
        """cuda_build: whether this Python's torch is built for GPUs (default: look at its version)."""
        self._hardware = hardware
        cuda_build = "+cpu" not in _version("torch") if cuda_build is None else cuda_build
        self.device = "cuda" if hardware.nvidia and cuda_build else "cpu"

    def version(self) -> str:
        return _version("transformers")

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """The served name is the model's folder: transformers serve takes no other."""
        settings = request.settings
        self._refuse(settings)
        if "@" in str(request.model_path):
            raise EngineUnavailable(
                N_("The engine transformers serves no model from a folder with @ in its path."),
                hint=N_("Choose the engine vLLM, or move PORTAL_HOME."),
            )
        command = [
            *(sys.executable, "-P", str(PROGRAM), "serve", str(request.model_path)),
            *("--host", "127.0.0.1"),
            *("--port", str(request.port)),
            *("--device", self._device(settings)),
            *("--dtype", self._dtype(settings)),
            *("--log-level", "error"),
        ]
        if settings.quantization != "as_stored":
            command += ["--quantization", settings.quantization]
        threads = settings.threads or self._hardware.cores
        environment = QUIET_AND_OFFLINE | {
            "HF_HOME": str(request.cache_dir / "huggingface"),
            "OMP_NUM_THREADS": str(min(threads, self._hardware.cores)),
            KEY_VARIABLE: request.api_key,
        }
        return LaunchPlan(command, environment, served_name=str(request.model_path))

    def _refuse(self, settings: DeploymentSettings) -> None:
        if not self.version():
            raise EngineUnavailable(N_("transformers is missing."), hint=N_("Set the portal up again: make setup"))
        if settings.quantization == "fp8":
            raise EngineUnavailable(
                N_("The engine transformers does not make weights fp8."), hint=N_("Choose 8 or 4 bits of bitsandbytes.")
            )
        if settings.lora:
            raise EngineUnavailable(
                N_("The engine transformers serves no LoRA adapters."), hint=N_("Choose the engine vLLM.")
            )

    def _device(self, settings: DeploymentSettings) -> str:
        if self.device == "cpu":
            return "cpu"
        return "cuda:0" if settings.tensor_parallel == 1 else "auto"

    def _dtype(self, settings: DeploymentSettings) -> str:
        if settings.dtype != "auto" or self.device == "cuda":
            return settings.dtype
        return "bfloat16" if self._hardware.fast_bfloat16 else "float32"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
