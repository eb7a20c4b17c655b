"""What an event says beyond who, when and what: one dataclass per kind of act.

Personal text (questions, answers, what somebody typed) is stored as settings.audit_text says; fields that are left
empty are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

TEXT_MAX = 20_000  # characters of any one text
LIST_MAX = 500  # entries of any one list
_MARGIN = 200  # characters beyond the bound that masking sees: it must not meet half a number there
_TEXTS = frozenset({"question", "answer", "code", "text", "meaning", "title_before", "title_after"})

TextMode = Literal["full", "masked", "none"]


@dataclass(frozen=True)
class Detail:
    """Base of all details."""

    def to_json(self, texts: TextMode = "full") -> dict:
        """JSON-able. texts: how the fields that hold personal text are given; hashes and counts always are."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return bounded({name: value for name, value in found.items() if not _empty(value)}, texts)


@dataclass(frozen=True)
class AskDetail(Detail):
    """chunks: [{id, document_id, document, sha256 of its text, place}]; citations: [{marker, chunk_id, supported}]."""

    question: str = ""
    answer: str = ""
    answer_sha256: str = ""
    meaning: str = ""
    conversation_id: str = ""
    collections: list | tuple = ()
    prompt_template: str = ""
    model: str = ""
    model_sha256: str = ""
    chunks: list | tuple = ()
    citations: list | tuple = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    timings_ms: dict | None = None
    outcome: str = ""  # answered, refused, passages, …
    confidence: float | None = None


@dataclass(frozen=True)
class CodeDetail(Detail):
    """question: the requirement; code: what was given to work on; answer: all that the model wrote.

    runs: [{passed, failed, error, ended}] of the first attempt and of the repair; language: of the code.
    """

    question: str = ""
    code: str = ""
    code_sha256: str = ""
    answer: str = ""
    answer_sha256: str = ""
    task: str = ""
    language: str = ""
    conversation_id: str = ""
    prompt_template: str = ""
    model: str = ""
    model_sha256: str = ""
    runs: list | tuple = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    timings_ms: dict | None = None
    outcome: str = ""


@dataclass(frozen=True)
class ImageDetail(Detail):
    """images: [{sha256, width, height, format}]; mode: vision or ocr; text: what was read in the pictures.

    region: [left, top, right, bottom] as shares of the picture, where only a part was asked about.
    """

    question: str = ""
    answer: str = ""
    answer_sha256: str = ""
    text: str = ""
    text_sha256: str = ""
    images: list | tuple = ()
    region: list | tuple | None = None
    mode: str = ""
    template: str = ""
    conversation_id: str = ""
    prompt_template: str = ""
    model: str = ""
    model_sha256: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    timings_ms: dict | None = None
    outcome: str = ""


@dataclass(frozen=True)
class FileDetail(Detail):
    document_id: int | None = None
    title: str = ""
    sha256: str = ""
    size_bytes: int | None = None
    collection: str = ""
    page: int | None = None


@dataclass(frozen=True)
class ConversationDetail(Detail):
    conversation_id: str = ""
    title_before: str = ""
    title_after: str = ""
    rating: str = ""  # up, down


@dataclass(frozen=True)
class CollectionDetail(Detail):
    collection_id: int | None = None
    name: str = ""
    name_before: str = ""
    members: list | tuple | None = None
    members_before: list | tuple | None = None


@dataclass(frozen=True)
class EngineDetail(Detail):
    """mode, step, seconds: how a rollout went and how long it took; settings: of the deployment."""

    model: str = ""
    role: str = ""
    model_before: str = ""
    deployment_id: int | None = None
    mode: str = ""
    step: str = ""
    seconds: float | None = None
    settings: dict | None = None
    reason: str = ""


@dataclass(frozen=True)
class ModelDetail(Detail):
    """source: where it came from or went to (a hub's repository, a folder, a server's address); sha256: of a bundle."""

    model: str = ""
    source: str = ""
    revision: str = ""
    roles: list | tuple = ()
    sha256: str = ""
    size_bytes: int | None = None
    at: str = ""
    days: list | tuple = ()


@dataclass(frozen=True)
class PersonDetail(Detail):
    person_id: str = ""
    name: str = ""
    roles_before: list | tuple | frozenset | set | None = None
    roles_after: list | tuple | frozenset | set | None = None
    groups_before: list | tuple | None = None
    groups_after: list | tuple | None = None


@dataclass(frozen=True)
class SignInDetail(Detail):
    """method: password, sso, link; reason: why not."""

    method: str = ""
    reason: str = ""


@dataclass(frozen=True)
class AuditDetail(Detail):
    """What an auditor looked at, or what came of a verification, an export or a replay."""

    filter: dict | None = None
    event_id: int | None = None
    head: str = ""
    events: int | None = None
    ok: bool | None = None
    first_wrong: int | None = None
    reason: str = ""
    sha256: str = ""
    result: dict | None = None


@dataclass(frozen=True)
class DaysDetail(Detail):
    """A sealed or removed day; the hashes in hex."""

    day: str = ""
    first_id: int = 0
    last_id: int = 0
    count: int = 0
    previous: str = ""
    last_hash: str = ""
    sealed_at: str = ""


def bounded(found: dict, texts: TextMode = "full") -> dict:
    """The dict with every text and list cut to its bound; `cut` says what was, and how long it had been."""
    cut: dict[str, int] = {}
    kept = {
        str(name): _bounded(value, str(name), texts, cut)
        for name, value in found.items()
        if texts != "none" or name not in _TEXTS
    }
    return kept | ({"cut": cut} if cut else {})


def _bounded(value: object, path: str, texts: TextMode, cut: dict[str, int]) -> object:
    if isinstance(value, str):
        return _bounded_text(str(value), path, texts, cut)
    if isinstance(value, dict):
        return {str(name): _bounded(inner, f"{path}.{name}", texts, cut) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        listed = sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)
        if len(listed) > LIST_MAX:
            cut[path] = len(listed)
        return [_bounded(inner, path, texts, cut) for inner in listed[:LIST_MAX]]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, int | float) else str(value)


def _bounded_text(text: str, path: str, texts: TextMode, cut: dict[str, int]) -> str:
    if len(text) > TEXT_MAX:
        cut[path] = len(text)
        text = text[: TEXT_MAX + _MARGIN]
    if texts == "masked" and path in _TEXTS:
        from services.audit.masking import mask

        text = mask(text)
    return text[:TEXT_MAX]


def _empty(value: object) -> bool:
    return value is None or value in ("", ())
