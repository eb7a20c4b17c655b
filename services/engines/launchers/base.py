"""What an engine launcher has to say: the command and the environment that serve a model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class LaunchRequest:
    """Serve this model folder under this name, here. `cache_dir`: where the engine may keep files of its own."""

    model_id: str
    model_path: Path
    port: int
    api_key: str
    cache_dir: Path


@dataclass(frozen=True)
class LaunchPlan:
    """`environment` holds only what is added to the portal's own; the API key is in it and never in `command`."""

    command: list[str]
    environment: dict[str, str]


class Launcher(Protocol):
    """Turns a request into a plan. Starts nothing.

    The server that comes up speaks the OpenAI API on 127.0.0.1:<port>/v1, asks for the API key there, and has
    GET /health. Everything it starts stays in its session.
    """

    name: str

    def plan(self, request: LaunchRequest) -> LaunchPlan: ...


def fingerprint(launcher: Launcher, model_id: str, model_path: Path, cache_dir: Path) -> str:
    """Equal for engines that would be launched alike; differs when a setting or the launcher has changed since."""
    plan = launcher.plan(LaunchRequest(model_id, model_path, port=0, api_key="", cache_dir=cache_dir))
    text = json.dumps([launcher.name, plan.command, sorted(plan.environment.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
