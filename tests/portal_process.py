"""A real portal as a child process, and its operator door: shared by the browser and end-to-end tests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent


class PortalProcess:
    """`cli.py serve` on a free port with its own PORTAL_HOME."""

    command: tuple[str, ...] = ("cli.py", "serve")  # a subclass may start another script

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"PORTAL_HOME": str(home), "PORTAL_PORT": str(self.port)} | environment
        self.process: subprocess.Popen | None = None

    def start(self, timeout_s: float = 60) -> float:
        """Seconds until the first screen, that of signing in, was served."""
        began = time.monotonic()
        log = (self.home / "stderr.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *self.command], cwd=ROOT, env=self.environment, stdout=log, stderr=log
        )
        wait_until(self._answers, timeout_s, f"the portal did not start: {self.home}/stderr.log")
        return time.monotonic() - began

    def cli(self, *arguments: str, timeout_s: float = 600) -> dict:
        """Run a command of cli.py with --json; its JSON whatever the exit status."""
        ran = subprocess.run(
            [sys.executable, "cli.py", *arguments, "--json"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert ran.stdout, ran.stderr
        return json.loads(ran.stdout)

    def engine(self) -> dict:
        return self.cli("engine", "status")["roles"]["chat"]

    def wait_for_engine(self, state: str, timeout_s: float) -> dict:
        wait_until(lambda: self.engine()["state"] in (state, "failed"), timeout_s, f"the engine never became {state}")
        status = self.engine()
        assert status["state"] == state, status
        return status

    def first_admin_link(self) -> str:
        """What an empty portal printed on its console."""
        said = (self.home / "stderr.log").read_text()
        return re.findall(r"\S+/auth/link/\S+", said)[-1]

    def kill(self) -> None:
        """SIGKILL: what a power cut or the OOM killer does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, as an operator or systemd would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    def mapped_files(self) -> set[str]:
        return {region.path for region in psutil.Process(self.process.pid).memory_maps()}

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self.home / "stderr.log").read_text()[-3000:]
        try:
            answer = httpx.get(f"{self.url}/auth/sign-in", timeout=5, trust_env=False)
            return answer.status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.3)
