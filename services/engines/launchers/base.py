"""What an engine launcher has to say: the command and the environment that serve a model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from services.engines.options import DeploymentSettings


@dataclass(frozen=True)
class LaunchRequest:
    """Serve this model under this name, here. model_path: a folder with safetensors, or a GGUF file.

    cache_dir: where the engine may keep files of its own.
    """

    model_id: str
    model_path: Path
    port: int
    api_key: str
    cache_dir: Path
    settings: DeploymentSettings = field(default_factory=DeploymentSettings)


@dataclass(frozen=True)
class LaunchPlan:
    """`environment` holds only what is added to the portal's own; the API key is in it and never in `command`.

    served_name: what requests must call the model; "": its id. An empty command: nothing is started, a server elsewhere
    answers at base_url (which ends in /v1) and takes api_key.
    """

    command: list[str]
    environment: dict[str, str]
    served_name: str = ""
    base_url: str = ""
    api_key: str = ""


class Launcher(Protocol):
    """Turns a request into a plan. Starts nothing.

    The server that comes up speaks the OpenAI API on 127.0.0.1:<port>/v1, asks for the API key there where it can,
    and has GET /health. Everything it starts stays in its session.
    """

    name: str  # an EngineKind
    device: str  # cpu or cuda: where its engines compute

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Raises EngineUnavailable when the program is missing, or refuses a setting (naming it)."""
        ...

    def version(self) -> str:
        """Of the installed engine; "" when it is not installed."""
        ...


def fingerprint(launcher: Launcher, request: LaunchRequest) -> str:
    """Equal for engines that would be launched alike; differs when a setting or the launcher has changed since.

    request: with port 0 and no API key.
    """
    plan = launcher.plan(request)
    text = json.dumps([launcher.name, plan.command, sorted(plan.environment.items()), plan.base_url])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
