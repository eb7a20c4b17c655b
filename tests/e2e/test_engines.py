"""The real engines, each with the smallest model: started by its launcher, asked through its probe, stopped.

Two to three minutes; the model (98 MB) is fetched once. llama.cpp is an optional extra: it is tried where it was
compiled (make engine-llamacpp).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from services.engines.engine import Engine, EngineHome
from services.engines.golden import is_language
from services.engines.hardware import read_hardware
from services.engines.launchers.arguments import CheckedLauncher, KnownOptions
from services.engines.launchers.base import Launcher
from services.engines.launchers.llama_cpp import LlamaCppLauncher
from services.engines.launchers.transformers import TransformersLauncher
from services.engines.launchers.vllm import VllmLauncher
from services.engines.metrics import Recorder
from services.engines.options import DeploymentSettings, Spec
from tests.portal_process import wait_until
from tests.prepared_models import SMALLEST, fetched

MODEL, MODEL_GGUF = SMALLEST, f"{SMALLEST}:gguf-q4"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
START_TIMEOUT_S = 300

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def options_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engines' options are kept once they were learned."""
    return tmp_path_factory.mktemp("options")


@contextmanager
def running(
    launcher: Launcher, model_path: Path, tmp_path: Path, options_dir: Path, **settings: object
) -> Iterator[Engine]:
    """An engine that has made its first token. Its options are checked against its own help on the way."""
    checked = CheckedLauncher(launcher, KnownOptions(options_dir))
    spec = Spec(1, MODEL, "SmolLM2", DeploymentSettings(context_tokens=1024, max_num_seqs=2, **settings))
    engine = Engine.launch(EngineHome(tmp_path / "engines", 1, 10), checked, spec, model_path)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not engine.answers(60):
            assert engine.process.alive(), engine.home.log.tail(30)
            assert time.monotonic() < deadline, engine.home.log.tail(30)
            time.sleep(0.5)
        yield engine
        known = f"{launcher.name}-*.json"
        wait_until(lambda: list(options_dir.glob(known)), 120, "the engine's options were not learned")
        checked.plan(engine.home.request(spec, model_path))
    finally:
        assert engine.stop(20)


def post(engine: Engine, key: str, path: str = "/chat/completions", **body: object) -> httpx.Response:
    url = engine.endpoint.base_url + path
    request = {"model": engine.endpoint.served_name, "messages": QUESTION, "max_tokens": 8, **body}
    return httpx.post(url, json=request, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False)


def test_vllm_answers_counts_and_is_found_out_when_its_core_hangs(tmp_path: Path, options_dir: Path) -> None:
    with running(VllmLauncher(read_hardware()), fetched(MODEL), tmp_path, options_dir) as engine:
        record = Recorder()
        record.add(engine.probe.reading(), None)
        assert is_language(engine.probe.generate(QUESTION, 12, 60))
        record.add(engine.probe.reading(), None)
        assert record.samples()[-1].tokens_per_s
        assert record.samples()[-1].first_token_ms
        assert post(engine, "wrong key").status_code == 401
        core = next(pid for pid in engine.process.members() if psutil.Process(pid).name().startswith("VLLM::Engine"))
        os.kill(core, signal.SIGSTOP)
        assert engine.probe.healthy()
        assert not engine.probe.lives(12)
        os.kill(core, signal.SIGCONT)
        wait_until(lambda: engine.probe.lives(12), 30, "it did not come back")


@pytest.mark.parametrize("quantization", ["as_stored", "bnb-4bit"])
def test_transformers_serve_answers_behind_its_key(quantization: str, tmp_path: Path, options_dir: Path) -> None:
    settings = {"engine": "transformers", "quantization": quantization}
    with running(TransformersLauncher(read_hardware()), fetched(MODEL), tmp_path, options_dir, **settings) as engine:
        assert is_language(engine.probe.generate(QUESTION, 12, 60))
        assert engine.probe.lives(12)
        assert engine.probe.reading() is None
        assert post(engine, engine.endpoint.api_key, repetition_penalty=1.1).status_code == 200
        assert post(engine, "wrong key").status_code == 401
        assert post(engine, engine.endpoint.api_key, "/../load_model").status_code == 404


def test_llama_cpp_answers_and_counts(tmp_path: Path, options_dir: Path) -> None:
    launcher = LlamaCppLauncher(read_hardware())
    if not launcher.version():
        pytest.skip("llama.cpp is an optional extra: make engine-llamacpp")
    with running(launcher, fetched(MODEL_GGUF), tmp_path, options_dir, engine="llama_cpp") as engine:
        assert is_language(engine.probe.generate(QUESTION, 12, 60))
        reading = engine.probe.reading()
        assert reading is not None
        assert reading.generation_tokens > 8
        assert post(engine, "wrong key").status_code == 401
