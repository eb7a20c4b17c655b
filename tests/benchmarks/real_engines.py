"""Portals over a home of their own with the real vLLM and the models of PORTAL_HOME, for the benchmarks of engines.

One portal of the machine at a time: an engine start takes more than a minute on two cores.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from db.database import Database
from services.chat_model import ChatModel, ChatRequest
from services.engines.catalogue import Catalogue
from services.engines.deployment_rows import DeploymentRows
from services.engines.deployments import Deployments
from services.engines.golden import DEFAULTS, GoldenPrompt
from services.engines.gpu import read_gpus
from services.engines.hardware import read_hardware
from services.engines.launchers.base import Launcher, LaunchRequest
from services.engines.launchers.external import Remote
from services.engines.launchers.select import Launchers
from services.engines.models import ModelStore
from services.engines.options import DeploymentSettings
from services.engines.supervisor import Equipment
from services.engines.usage import MemoryOf, resident_mib
from services.settings import Settings
from tests.engine_bench import FakeMemory

SMALL, OTHER = "smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"
SETTINGS = DeploymentSettings(context_tokens=2048, max_num_seqs=8, kv_cache_gib=1)
OPTIONS_TIMEOUT_S = 300
QUIET_TIMEOUT_S = 240


class RealBench:
    """As tests.engine_bench.Bench, with real engines. memory: decides whether two fit, whatever the machine has."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.settings = Settings(home=home, **settings)
        self._link_models(home / "models")
        self.database = Database.open(self.settings.database_path)
        self.models = ModelStore(self.settings, Catalogue.load())
        self.launchers = Launchers(self.settings, self.models, read_hardware, _no_remote)
        self.memory = FakeMemory()
        self.golden: list[GoldenPrompt] = [DEFAULTS["en"]]
        self.portals: list[Deployments] = []

    def portal(self) -> Deployments:
        equipment = Equipment(self.settings, self.models, self.launchers.for_model, DeploymentRows(self.database))
        portal = Deployments(
            equipment,
            estimate=self.memory,
            memory_of=MemoryOf(read_gpus),
            golden_prompts=lambda _model: self.golden,
        )
        self.portals.append(portal)
        return portal

    def ready_portal(self, model_id: str = SMALL) -> Deployments:
        portal = self.portal()
        portal.start("chat", model_id, SETTINGS)
        assert portal.wait_ready("chat", self.settings.engine_start_timeout_s).ready, portal.status("chat").reason
        portal.wait_rollout(self.settings.engine_start_timeout_s)
        return portal

    def launcher(self, model_id: str) -> Launcher:
        return self.launchers.for_model(model_id, SETTINGS)

    def learn_options(self, model_id: str = SMALL) -> None:
        """The portal reads the engine's --help once per version, during the first start: not during a timed one."""
        folder = self.settings.engines_dir.resolve() / "cache" / "options"
        learnt = Settings().engines_dir / "cache" / "options"
        if learnt.is_dir():
            shutil.copytree(learnt, folder, dirs_exist_ok=True)
        request = LaunchRequest(model_id, self.models.path(model_id), 0, "", folder.parent, SETTINGS)
        self.launcher(model_id).plan(request)
        deadline = time.monotonic() + OPTIONS_TIMEOUT_S
        while not list(folder.glob("*.json")):
            assert time.monotonic() < deadline, "the engine did not list its options"
            time.sleep(0.2)

    def own_copy(self, model_id: str) -> Path:
        """Instead of the link to the prepared model: files that may be damaged."""
        folder = self.settings.models_dir / model_id
        if folder.is_symlink():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Settings().home.resolve() / "models" / model_id, folder)
        return folder

    def close(self) -> None:
        for portal in self.portals:
            portal.close(stop_engines=True)
        self.database.close()

    def _link_models(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for prepared in (Settings().home.resolve() / "models").iterdir():
            if prepared.is_dir() and not (folder / prepared.name).exists():
                (folder / prepared.name).symlink_to(prepared)


@contextmanager
def real_bench(home: Path, **settings: object) -> Iterator[RealBench]:
    """One whose engines end with it, however it ends; it has looked at the engine's --help."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = RealBench(home, **settings)
    try:
        bench.learn_options()
        yield bench
    finally:
        bench.close()


@dataclass(frozen=True)
class Machine:
    """What else went on while something was measured. engines: real ones of other people."""

    load_1min: float
    engines: int
    available_mib: float

    @classmethod
    def now(cls) -> Machine:
        mine = {psutil.Process().pid, *(child.pid for child in psutil.Process().children(recursive=True))}
        others = [process.pid for process in psutil.process_iter() if process.pid not in mine and _is_engine(process)]
        return cls(round(psutil.getloadavg()[0], 1), len(others), round(psutil.virtual_memory().available / 2**20))


def await_quiet(timeout_s: float = QUIET_TIMEOUT_S) -> None:
    """Until no other engine runs here, or the time is up: figures beside one mean little."""
    deadline = time.monotonic() + timeout_s
    while Machine.now().engines and time.monotonic() < deadline:
        time.sleep(2)


def answer(portal: Deployments, settings: Settings, *, max_tokens: int = 8) -> str:
    """One answer, through the gate and the chat model. Raises PortalError."""
    chat_model = ChatModel(portal, settings)
    lease = chat_model.enter("chat")
    while not lease.wait(0.1):
        pass
    with chat_model.stream(ChatRequest([{"role": "user", "content": "Hi"}], max_tokens), lease) as stream:
        return "".join(stream)


def memory_mib(pids: list[int]) -> float:
    return round(resident_mib(pids))


def _is_engine(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
        return "vllm.entrypoints.openai.api_server" in command and "--help" not in command
    except psutil.Error:
        return False


def _no_remote(model_id: str) -> Remote:
    raise LookupError(model_id)
