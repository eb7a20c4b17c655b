"""llama.cpp's own server: GGUF files as they are, on CPUs several times as fast as vLLM there.

An optional extra: `make engine-llamacpp` compiles it out of the source package of llama-cpp-python. Of the two servers
in there the one in C++ is used: the one in Python answers one request at a time, reports no use of tokens in streams,
and has neither /health nor /metrics. Options were read in common/arg.cpp of llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

from services.engines.hardware import Hardware
from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.engines.needs import CPU_STEP_TOKENS
from services.engines.options import DeploymentSettings
from services.errors import EngineUnavailable
from services.translation import N_

COMPILED_HERE = Path(__file__).resolve().parents[3] / ".venv-llamacpp" / "bin" / "llama-server"
ALL_LAYERS = "999"
LOOK_TIMEOUT_S = 20


class LlamaCppLauncher:
    """The KV cache is that of context_tokens times max_num_seqs, always; kv_cache_gib, gpu_memory_utilization,
    enforce_eager and prefix_caching mean nothing here (prompts that begin alike are always reused). A server on the
    PATH that was built for GPUs computes there; that has never been run.
    """

    name = "llama_cpp"

    def __init__(self, hardware: Hardware, *, program: Path | None = None) -> None:
        """program: llama-server (default: the one compiled here, or one on the PATH)."""
        self._hardware = hardware
        self._program = program or _found()

    @cached_property
    def device(self) -> str:
        if not self._hardware.nvidia or self._program is None:
            return "cpu"
        return "cuda" if "CUDA" in _output(self._program, "--list-devices") else "cpu"

    def version(self) -> str:
        return self._version if self._program is not None else ""

    @cached_property
    def _version(self) -> str:
        found = re.search(r"^version: (.+)$", _output(self._program, "--version"), re.MULTILINE)
        return found.group(1) if found else "unknown"

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        if self._program is None:
            raise EngineUnavailable(
                N_("llama.cpp is not installed."),
                hint=N_("It is an optional extra and takes about 10 minutes to compile: make engine-llamacpp"),
            )
        settings = request.settings
        self._refuse(request)
        threads = str(min(settings.threads or self._hardware.cores, self._hardware.cores))
        command = [
            *(str(self._program), "--model", str(request.model_path)),
            *("--alias", request.model_id),
            *("--host", "127.0.0.1"),
            *("--port", str(request.port)),
            *("--ctx-size", str(settings.context_tokens * settings.max_num_seqs)),
            *("--parallel", str(settings.max_num_seqs)),
            *("--batch-size", str(CPU_STEP_TOKENS)),
            *("--ubatch-size", str(CPU_STEP_TOKENS)),
            *("--threads", threads),
            *("--threads-batch", threads),
            *("--cache-ram", "0"),
            *("--gpu-layers", ALL_LAYERS if self.device == "cuda" else "0"),
            *("--metrics", "--no-slots", "--no-ui", "--offline"),
        ]
        return LaunchPlan(command, {"LLAMA_API_KEY": request.api_key, "NO_COLOR": "1"}, served_name=request.model_id)

    def _refuse(self, request: LaunchRequest) -> None:
        settings: DeploymentSettings = request.settings
        if settings.quantization != "as_stored":
            raise EngineUnavailable(
                N_("llama.cpp serves GGUF files as they are."), hint=N_("Choose a GGUF variant with fewer bits.")
            )
        if settings.lora:
            raise EngineUnavailable(
                N_("The engine llama.cpp serves no LoRA adapters here."), hint=N_("Choose the engine vLLM.")
            )


def _found() -> Path | None:
    if COMPILED_HERE.is_file():
        return COMPILED_HERE
    on_path = shutil.which("llama-server")
    return Path(on_path) if on_path else None


def _output(program: Path, option: str) -> str:
    """What the program says about itself; "" when it cannot be run."""
    try:
        done = subprocess.run(
            [str(program), option], capture_output=True, text=True, timeout=LOOK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
