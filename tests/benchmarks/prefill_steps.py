"""How long a step of vLLM's scheduler lasts on this CPU, and what shorter steps cost: the reason for CPU_STEP_TOKENS.

    .venv/bin/python -m tests.benchmarks.prefill_steps [--tokens 2048 512 256] [--dtype auto]    (two minutes each)

The real vLLM with the default model, launched as the portal does but for the size of its steps. Two questions of about
1,700 tokens and two of about 430, no two of which begin alike; a step's time is that of the long ones divided by
their number of steps.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from services.engines.catalogue import Catalogue
from services.engines.engine import Engine, EngineHome
from services.engines.hardware import read_hardware
from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.engines.launchers.vllm import VllmLauncher
from services.engines.models import ModelStore
from services.engines.options import DeploymentSettings, Spec
from services.settings import Settings
from tests.portal_process import ROOT

MODEL = "qwen2.5-coder-0.5b-instruct"
WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo", "lima")
LONG, SHORT = 600, 150  # words, of about 2.8 tokens each
STEPS = "--max-num-batched-tokens"
START_TIMEOUT_S = 600


class Stepping(VllmLauncher):
    """With steps of another size."""

    tokens = 512

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        plan = super().plan(request)
        at = plan.command.index(STEPS) + 1
        return replace(plan, command=[*plan.command[:at], str(self.tokens), *plan.command[at + 1 :]])


def measure(launcher: Stepping, model_path: Path, settings: DeploymentSettings) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        home = EngineHome(Path(folder), 1, 10)
        engine = Engine.launch(home, launcher, Spec(1, MODEL, MODEL, settings), model_path)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not engine.answers(60):
                assert engine.process.alive(), home.log.tail(20)
                assert time.monotonic() < deadline, "not ready in time"
                time.sleep(0.5)
            asked = [ask(engine, words) for words in (LONG, LONG, SHORT, SHORT)]
        finally:
            engine.stop(20)
    long, short = asked[:2], asked[2:]
    steps = sum(-(-tokens // launcher.tokens) for tokens, _ in long)
    return {
        "step_tokens": launcher.tokens,
        "step_s": round(sum(seconds for _, seconds in long) / steps, 1),
        "long_tokens_per_s": round(sum(tokens for tokens, _ in long) / sum(seconds for _, seconds in long)),
        "short_tokens_per_s": round(sum(tokens for tokens, _ in short) / sum(seconds for _, seconds in short)),
        "load": round(os.getloadavg()[0], 1),
    }


def ask(engine: Engine, words: int) -> tuple[float, float]:
    """Tokens of the prompt, and seconds until its first token."""
    text = " ".join(f"{random.choice(WORDS)}{random.randint(0, 9)}" for _ in range(words))
    before = engine.probe.reading()
    began = time.monotonic()
    engine.probe.generate([{"role": "user", "content": text}], 1, 600)
    seconds = time.monotonic() - began
    after = engine.probe.reading()
    assert before is not None
    assert after is not None
    return after.prompt_tokens - before.prompt_tokens, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[2048, 512, 256])
    parser.add_argument("--dtype", default="auto")
    options = parser.parse_args()
    settings = Settings(home=Path(os.environ.get("PORTAL_HOME", ROOT / "var")))
    model_path = ModelStore(settings, Catalogue.load()).ensure(MODEL)
    launcher = Stepping(read_hardware())
    for tokens in options.tokens:
        launcher.tokens = tokens
        print(json.dumps(measure(launcher, model_path, DeploymentSettings(dtype=options.dtype))), flush=True)


if __name__ == "__main__":
    main()
