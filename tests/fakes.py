"""Stand-ins for what is slow or outside: the chat model, the models on disk, a launcher of the fake engine, time."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from argon2 import PasswordHasher

from db.account_tables import Person
from db.database import Database
from services.accounts.passwords import Passwords
from services.chat_model import ChatRequest
from services.engines.gate import Gate, Lease
from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.engines.states import Endpoint
from services.errors import EngineNotReady, NotFound, PortalError, VerificationFailed
from services.images.pictures import CleanImage, ImageText, TextLine
from services.permissions import Actor, Role

FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")
_TOKEN = re.compile(r"[一-鿿]|\w+|[^\w\s]")

ANNA = Actor(id="anna", name="anna", roles=frozenset(Role))  # signed in, and may open every page
USER = Actor(id="ulla", name="ulla", roles=frozenset({Role.USER}))
ADMIN = Actor(id="adam", name="adam", roles=frozenset({Role.ADMIN}))
AUDITOR = Actor(id="audrey", name="audrey", roles=frozenset({Role.AUDITOR}))
NO_ROLE = Actor(id="nora", name="nora", roles=frozenset())
PASSWORD = "horse battery staple"


def add_people(database: Database, *actors: Actor, password_hash: str | None = None) -> None:
    """Rows for actors, as if an administrator had invited them under their ids."""
    with database.session(writing=True) as session:
        for actor in actors:
            roles = sorted(actor.roles)
            session.add(
                Person(id=actor.id, name=actor.name, roles=roles, password_hash=password_hash, created_by="test")
            )


class QuickPasswords(Passwords):
    """Argon2id with hardly any work, and a count of how often it was asked."""

    def __init__(self, min_length: int = 10) -> None:
        super().__init__(min_length)
        self._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self._nobody = self._hasher.hash("nobody's password")
        self.compared = 0

    def matches(self, stored: str | None, password: str) -> bool:
        self.compared += 1
        return super().matches(stored, password)


class FakeClock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class FakeChatStream:
    """The reply in deltas of a few characters; `fails` is raised in the middle of it."""

    def __init__(self, reply: str, prompt_tokens: int, model_id: str, fails: PortalError | None) -> None:
        self.model_id = model_id
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.finish_reason: str | None = None
        self.first_token_ms: float | None = None
        self.closed = False
        self._fails = fails
        self._deltas = [reply[at : at + 4] for at in range(0, len(reply), 4)]
        self._fails_at = len(self._deltas) // 2

    def __iter__(self) -> FakeChatStream:
        return self

    def __next__(self) -> str:
        if self._fails and self.completion_tokens >= self._fails_at:
            raise self._fails
        if self.closed or self.completion_tokens == len(self._deltas):
            self.finish_reason = self.finish_reason or (None if self.closed else "stop")
            raise StopIteration
        self.first_token_ms = self.first_token_ms or 1.0
        self.completion_tokens += 1
        return self._deltas[self.completion_tokens - 1]

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> FakeChatStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class FakeChatModel:
    """Answers every request with `reply`, or with what reply(request) returns.

    unavailable: why there is no model; fails: raised in the middle of an answer.
    roles: those that a model serves.
    requests and streams: what was asked and given, in order.
    """

    reply: str | Callable[[ChatRequest], str] = "This is the answer."
    unavailable: PortalError | None = None
    fails: PortalError | None = None
    model_id: str = "qwen2.5-coder-0.5b-instruct"  # of the catalogue
    roles: tuple[str, ...] = ("chat", "code")
    requests: list[ChatRequest] = field(default_factory=list)
    streams: list[FakeChatStream] = field(default_factory=list)
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = Gate(self._endpoint)

    def _endpoint(self, role: str) -> Endpoint:
        if self.unavailable:
            raise self.unavailable
        if role not in self.roles:
            raise EngineNotReady("No model is chosen for this.")
        return Endpoint("http://127.0.0.1:9/v1", "", self.model_id, Path(), deployment_id=1)

    def enter(self, role: str = "chat", *, first: bool = False) -> Lease:
        return self.gate.enter(role, first=first)

    def stream(self, request: ChatRequest, lease: Lease, *, heartbeat_s: float | None = None) -> FakeChatStream:
        self.requests.append(request)
        reply = self.reply(request) if callable(self.reply) else self.reply
        prompt_tokens = sum(_count(text_of(message)) for message in request.messages)
        self.streams.append(FakeChatStream(reply, prompt_tokens, self.model_id, self.fails))
        return self.streams[-1]

    def count_tokens(self, text: str, lease: Lease) -> int:
        return _count(text)

    def warm_up(self, role: str = "chat") -> None:
        """Nothing to import."""


class FakeReader:
    """Reads `layout` in every picture, in one line at its top left corner. read_images: what was read, in order."""

    def __init__(self, layout: str = "") -> None:
        self.layout = layout
        self.read_images: list[CleanImage] = []

    def read(self, image: CleanImage) -> ImageText:
        self.read_images.append(image)
        return ImageText([TextLine(self.layout, ((0, 0), (9, 0), (9, 9), (0, 9)), 0.9)], self.layout, 0.0)

    def close(self) -> None:
        """Nothing was started."""


def text_of(message: dict) -> str:
    """The words of a message, whose content may be a list of parts."""
    content = message["content"]
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _count(text: str) -> int:
    return len(_TOKEN.findall(text))


@dataclass(frozen=True)
class FakeEntry:
    id: str
    name: str
    roles: tuple[str, ...] = ("chat", "code")
    context_tokens: int = 8192


@dataclass(frozen=True)
class FakeVariant:
    engines: tuple[str, ...] = ("vllm",)


class FakeModels:
    """Models that are on disk (an empty folder is enough for the fake engine), or in the catalogue only.

    tampered: ids of those whose files were changed.
    """

    def __init__(self, folder: Path, *ready: str, missing: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._ready = ready
        self._known = {*ready, *missing}
        self.tampered: set[str] = set()

    def entry(self, model_id: str) -> FakeEntry:
        if model_id not in self._known:
            raise NotFound("The catalogue has no model {id}.", id=model_id)
        return FakeEntry(model_id, model_id.title())

    def path(self, model_id: str) -> Path:
        return self._folder / self.entry(model_id).id

    def file_sha256(self, model_id: str) -> str:
        return "0" * 64

    def ready(self, model_id: str) -> bool:
        return self.entry(model_id).id in self._ready

    def variants_of(self, model_id: str) -> list[str]:
        return [model_id, f"{model_id}:small"] if f"{model_id}:small" in self._known else [model_id]

    def variant(self, model_id: str) -> FakeVariant:
        return FakeVariant()

    def verify(self, model_id: str) -> None:
        if model_id in self.tampered:
            raise VerificationFailed("The file {file} was changed.", file="model.safetensors")


class FakeLauncher:
    """Launches tests/fake_engine.py with the given options; they may be changed between launches.

    once: options of the next launch only; by_model: further options of a model.
    """

    name = "vllm"
    device = "cpu"

    def __init__(self, *options: str) -> None:
        self.options = options
        self.once: list[tuple[str, ...]] = []
        self.by_model: dict[str, tuple[str, ...]] = {}
        self.launches = 0

    def version(self) -> str:
        return "fake 1"

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        options = self.options
        if request.port:  # port 0 asks for the fingerprint only
            self.launches += 1
            options = self.once.pop(0) if self.once else self.options
        command = [sys.executable, str(FAKE_ENGINE), "--port", str(request.port)]
        options = (*options, *self.by_model.get(request.model_id, ()))
        return LaunchPlan(
            [*command, "--served-model-name", request.model_id, *options], {"VLLM_API_KEY": request.api_key}
        )
