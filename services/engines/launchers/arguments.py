"""Whether the installed engine knows the options that a launcher is about to give it.

The options are read in the engine's own --help. Asking takes up to half a minute (vLLM imports torch for it), so it is
done once per version, in the background, and the answer kept; until it is there, nothing is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from services.engines.launchers.base import Launcher, LaunchPlan, LaunchRequest
from services.errors import EngineUnavailable
from services.translation import N_

HELP_TIMEOUT_S = 300
FEWEST = 5  # a text with fewer options than that is no help text
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]+")

Ask = Callable[[list[str], dict[str, str]], str]  # command, environment → what it prints


class KnownOptions:
    """Thread-safe; one per portal."""

    def __init__(self, folder: Path, ask: Ask | None = None) -> None:
        self._folder = folder
        self._ask = ask or _ask
        self._guard = threading.Lock()
        self._asked: set[Path] = set()

    def check(self, launcher: Launcher, plan: LaunchPlan) -> None:
        """Raises EngineUnavailable naming the first option that the engine does not have."""
        known = self._known(launcher, plan) if plan.command else None
        if known is None:
            return
        for option in _options_of(plan.command):
            if option not in known:
                raise EngineUnavailable(
                    N_("The installed {engine} {version} does not know the option {option}."),
                    hint=N_("Install the version that the portal was made for: make setup"),
                    engine=launcher.name,
                    version=launcher.version(),
                    option=option,
                )

    def _known(self, launcher: Launcher, plan: LaunchPlan) -> set[str] | None:
        version = re.sub(r"[^A-Za-z0-9.]+", "-", launcher.version())
        path = self._folder / f"{launcher.name}-{version}.json"
        if path.is_file():
            return set(json.loads(path.read_text()))
        with self._guard:
            first = path not in self._asked
            self._asked.add(path)
        if first:
            threading.Thread(target=self._learn, args=(path, plan), name="engine-options", daemon=True).start()
        return None

    def _learn(self, path: Path, plan: LaunchPlan) -> None:
        program = list(takewhile(lambda argument: not argument.startswith("--"), plan.command))
        options = sorted(set(_OPTION.findall(self._ask([*program, "--help"], plan.environment))))
        if len(options) >= FEWEST:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".new")
            draft.write_text(json.dumps(options))
            draft.replace(path)


class CheckedLauncher:
    """A launcher whose plans are checked."""

    def __init__(self, launcher: Launcher, options: KnownOptions) -> None:
        self._launcher = launcher
        self._options = options
        self.name = launcher.name

    @property
    def device(self) -> str:
        return self._launcher.device

    def version(self) -> str:
        return self._launcher.version()

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        plan = self._launcher.plan(request)
        self._options.check(self._launcher, plan)
        return plan


def _options_of(command: list[str]) -> list[str]:
    return [argument.partition("=")[0] for argument in command if _OPTION.fullmatch(argument.partition("=")[0])]


def _ask(command: list[str], environment: dict[str, str]) -> str:
    """Behind everything else that runs, the engine that is being started above all. "" when it cannot be had."""
    nice = shutil.which("nice")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
    try:
        done = subprocess.run(
            [*([nice, "-n", "19"] if nice else []), *command],
            env=inherited | environment | {"COLUMNS": "400", "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HELP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
