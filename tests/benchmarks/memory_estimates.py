"""Predicted against measured memory of real engines on this machine, each started alone, one after the other.

    .venv/bin/python -m tests.benchmarks.memory_estimates [--models ID …] [--contexts N …] [--engine vllm]

Every engine answers PARALLEL short requests at a time, and a prompt that fills three quarters of its window (of vLLM's
no more than LONG_PROMPT tokens: it reads prompts in steps of 512, and its KV cache is all there from the beginning);
then the resident memory of its processes is read. A run takes two minutes on two idle cores. What was measured is kept
in PORTAL_HOME/benchmarks/memory_estimates.jsonl and not measured again; the table is of all that is there.

Corrected: as if all other runs in the table had been starts before; by others: all of other models.
"""

from __future__ import annotations

import argparse
import json
import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import httpx

from services.engines.corrections import Observation, factor
from services.engines.hardware import read_hardware
from services.engines.launchers.base import Launcher, LaunchRequest
from services.engines.launchers.llama_cpp import LlamaCppLauncher
from services.engines.launchers.transformers import TransformersLauncher
from services.engines.launchers.vllm import VllmLauncher
from services.engines.needs import Conditions, needs
from services.engines.options import DeploymentSettings
from services.engines.process import EngineProcess, remove_shared_memory
from services.engines.shapes import local_files, read_shape
from services.engines.usage import resident
from services.settings import Settings
from tests.portal_process import free_port

MODELS = ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct")
CONTEXTS = (1024, 4096, 8192)
MAX_NUM_SEQS, PARALLEL = 8, 8
LAUNCHERS = {"vllm": VllmLauncher, "transformers": TransformersLauncher, "llama_cpp": LlamaCppLauncher}
START_TIMEOUT_S, ANSWER_TIMEOUT_S = 900, 1800
LONG_PROMPT = 1600
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
        parallel = 1 if settings.engine == "transformers" else PARALLEL  # it answers one after another
        with ThreadPoolExecutor(parallel) as pool:
            list(pool.map(lambda n: engine.ask(f"{n}: what is a printer?", 32), range(parallel)))
        row["asked"] = engine.resident()
        tokens = settings.context_tokens * 3 // 4
        if settings.engine == "vllm":
            tokens = min(tokens, LONG_PROMPT)
        engine.ask(WORDS * (tokens // 17), 8)
        row["long_prompt"] = engine.resident()
    return row | {"model_id": model_id, "settings": settings.model_dump(mode="json")}


def observed(row: dict, models_dir: Path) -> Observation:
    settings = DeploymentSettings.model_validate(row["settings"])
    shape = read_shape(local_files((models_dir / row["model_id"]).resolve()))
    parts = needs(shape, settings, Conditions("cpu", read_hardware().fast_bfloat16))
    engine = f"{settings.engine} {settings.dtype} {settings.quantization}"
    return Observation(row["model_id"], engine, "cpu", sum(parts.values()), row["long_prompt"]["total"])


def table(rows: list[dict], models_dir: Path) -> str:
    """Markdown."""
    seen = [observed(row, models_dir) for row in rows]
    lines = [
        "| model | engine | context | predicted MiB | measured MiB | error | corrected | by others |",
        "|---" * 8 + "|",
    ]
    for index, (row, one) in enumerate(zip(rows, seen, strict=True)):
        others = seen[:index] + seen[index + 1 :]
        strangers = [other for other in others if other.model_id != one.model_id]
        errors = [
            one.predicted_mib * factor(before, one.model_id, one.engine, one.device) / one.measured_mib - 1
            for before in ([], others, strangers)
        ]
        lines.append(
            f"| {one.model_id} | {one.engine} | {row['settings']['context_tokens']} | {one.predicted_mib:.0f} "
            f"| {one.measured_mib:.0f} | " + " | ".join(f"{error:+.1%}" for error in errors) + " |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--contexts", nargs="*", type=int, default=CONTEXTS)
    parser.add_argument("--engine", choices=LAUNCHERS, default="vllm")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--quantization", default="as_stored")
    chosen, portal = parser.parse_args(), Settings()
    kept = portal.home / "benchmarks" / "memory_estimates.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for model_id in chosen.models:
        for context in chosen.contexts:
            settings = DeploymentSettings(
                engine=chosen.engine,
                context_tokens=context,
                max_num_seqs=MAX_NUM_SEQS,
                dtype=chosen.dtype,
                quantization=chosen.quantization,
            )
            known = {(row["model_id"], DeploymentSettings.model_validate(row["settings"])) for row in rows}
            if (model_id, settings) not in known:
                rows.append(measure(model_id, portal.models_dir, settings))
                with kept.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(table(rows, portal.models_dir))


if __name__ == "__main__":
    main()
