"""Predicted against measured memory of real engines on this machine, each started alone, one after the other.

    .venv/bin/python -m tests.benchmarks.memory_estimates [--models ID…] [--contexts N…] [--engine vllm] [--out FILE]

Every engine answers PARALLEL short requests at a time and a prompt that nearly fills its window, as the engines of a
portal sooner or later do; then the resident memory of its processes is read. A run takes two minutes on two cores;
what is in FILE already is not measured again.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import httpx

from services.engines.hardware import read_hardware
from services.engines.launchers.base import Launcher, LaunchRequest
from services.engines.launchers.llama_cpp import LlamaCppLauncher
from services.engines.launchers.transformers import TransformersLauncher
from services.engines.launchers.vllm import VllmLauncher
from services.engines.options import DeploymentSettings
from services.engines.process import EngineProcess, remove_shared_memory
from services.engines.usage import resident
from tests.portal_process import free_port

MODELS = ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct")
CONTEXTS = (1024, 4096, 8192)
MAX_NUM_SEQS, PARALLEL = 8, 8
LAUNCHERS = {"vllm": VllmLauncher, "transformers": TransformersLauncher, "llama_cpp": LlamaCppLauncher}
START_TIMEOUT_S, ANSWER_TIMEOUT_S = 900, 1800
WORDS = "the printer on the second floor takes paper of the size that the form asks for and "


class Served:
    """A real engine, up from __enter__ to __exit__."""

    def __init__(self, launcher: Launcher, model_id: str, path: Path, settings: DeploymentSettings) -> None:
        self._launcher, self._model_id, self._path, self._settings = launcher, model_id, path, settings
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Served:
        folder, key = Path(self._folder.name), secrets.token_hex(16)
        port = free_port()
        plan = self._launcher.plan(
            LaunchRequest(self._model_id, self._path, port, key, folder / "cache", self._settings)
        )
        self._served_name = plan.served_name
        headers = {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=ANSWER_TIMEOUT_S, trust_env=False
        )
        self._log = folder / "engine.log"
        self.process = EngineProcess.spawn(plan, log_path=self._log, work_dir=folder / "work")
        self._wait_healthy()
        return self

    def __exit__(self, *_exception: object) -> None:
        segments = self.process.shared_memory()
        self.process.stop(15)
        remove_shared_memory(segments)
        self._client.close()
        self._folder.cleanup()

    def ask(self, text: str, max_tokens: int) -> None:
        body = {"model": self._served_name, "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}
        self._client.post("/v1/chat/completions", json=body).raise_for_status()

    def resident(self) -> dict:
        """In all, by kind, and by process, MiB."""
        pids = self.process.members()
        each = {Path(f"/proc/{pid}/comm").read_text().strip() + f" {pid}": asdict(resident([pid])) for pid in pids}
        return asdict(resident(pids)) | {"total": resident(pids).total, "processes": each}

    def _wait_healthy(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._healthy():
            assert self.process.alive(), self._log.read_text()[-4000:]
            assert time.monotonic() < deadline, "it did not become healthy"
            time.sleep(1)

    def _healthy(self) -> bool:
        try:
            return self._client.get("/health").status_code == 200
        except httpx.TransportError:
            return False


def measure(model_id: str, models_dir: Path, settings: DeploymentSettings) -> dict:
    """Resident memory when healthy, after short requests side by side, and after a prompt that fills the window."""
    launcher = LAUNCHERS[settings.engine](read_hardware())
    began = time.monotonic()
    with Served(launcher, model_id, (models_dir / model_id).resolve(), settings) as engine:
        row = {"start_s": round(time.monotonic() - began, 1), "healthy": engine.resident()}
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(lambda n: engine.ask(f"{n}: what is a printer?", 32), range(PARALLEL)))
        row["asked"] = engine.resident()
        engine.ask(WORDS * (settings.context_tokens * 3 // 4 // 16), 16)
        row["long_prompt"] = engine.resident()
    return row | {"model_id": model_id, "settings": settings.model_dump(mode="json")}
