"""What an operator does from the console, as functions from JSON to JSON.

cli.py calls them in its own process when no portal runs, and through the running portal's operator door otherwise:
either way the actor is the console.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from services.accounts.names import folded
from services.audit.events import Event
from services.audit.filters import Filter
from services.code.answer import CodeQuestion, Task
from services.code.records import code_result
from services.engine_operations import ROLE, EngineOperations
from services.errors import BadInput, NotFound, PortalError
from services.images.question import ImageQuestion
from services.images.records import image_result
from services.permissions import CONSOLE, Role
from services.sandbox.jobs import Language
from services.translation import N_, language_of

if TYPE_CHECKING:
    from db.tables import Document
    from services.accounts.people import PersonView
    from services.bootstrap import Services


class Operations:
    def __init__(self, services: Services) -> None:
        self._services = services
        self.started_engine = False
        self._by_name = {
            "ask": self.ask,
            "code": self.code,
            "image": self.image,
            "documents_add": self.documents_add,
            "documents_list": self.documents_list,
            "documents_remove": self.documents_remove,
            "documents_reindex": self.documents_reindex,
            "users_add": self.users_add,
            "users_list": self.users_list,
            "users_disable": self.users_disable,
            "users_enable": self.users_enable,
            "users_unlock": self.users_unlock,
            "users_reset": self.users_reset,
            "audit_head": self.audit_head,
            "audit_search": self.audit_search,
            "audit_verify": self.audit_verify,
            "audit_export": self.audit_export,
        } | EngineOperations(services).by_name

    def run(self, name: str, arguments: dict) -> dict:
        """Raises NotFound for a name that is no operation, PortalError as the operation does."""
        if name not in self._by_name:
            raise NotFound(N_("There is no operation {name}."), name=name)
        return self._by_name[name](**arguments)

    def ask(self, question: str, collection: str | None = None, start_engine: bool = False) -> dict:
        """Ask one question outside of any kept conversation.

        start_engine: start the chat model if it is not running, and wait for it.
        """
        if start_engine:
            self._ensure_engine()
        ask = self._services.ask
        answer = ask.stream(question, actor=CONSOLE, collection_ids=self._collection_ids(collection))
        for _delta in answer.deltas:
            pass
        ask.delete(answer.conversation_id, actor=CONSOLE)
        return {
            "question": question,
            "answer": answer.text,
            "refused": answer.outcome == "refused",
            "outcome": str(answer.outcome),
            "error": answer.error.to_record() if answer.error else None,
            "citations": [_citation(citation) for citation in answer.citations],
            "passages": [_passage(passage) for passage in answer.passages],
            "confidence": answer.confidence,
            "tokens": {"prompt": answer.prompt_tokens, "completion": answer.completion_tokens},
            "timings_ms": answer.timings_ms,
            "model": answer.model_id,
        }

    def code(self, requirement: str, language: str, run: bool = False, start_engine: bool = False) -> dict:
        """Write code outside of any kept conversation. run: prove it, with one repair. Raises BadInput."""
        if language not in set(Language):
            raise BadInput(N_("The languages are: {languages}."), languages=", ".join(Language))
        if start_engine:
            self._ensure_engine()
        code_help = self._services.code_help
        explained_in = language_of(requirement)
        question = CodeQuestion(Task.GENERATE, language, requirement)
        answer = code_help.stream(question, actor=CONSOLE, language=explained_in, run=run)
        for _delta in answer.deltas:
            pass
        code_help.delete(answer.conversation_id, actor=CONSOLE)
        return code_result(answer)

    def image(self, path: str, question: str, page: int = 1, start_engine: bool = False) -> dict:
        """Ask about one picture outside of any kept conversation. page: of a PDF or TIFF. Raises as the gate does."""
        images = self._services.image_analysis
        admitted = images.admit(Path(path), Path(path).name, CONSOLE, page=page)
        if start_engine:
            self._ensure_engine()
        answer = images.stream(ImageQuestion(question, (admitted.sha256,)), actor=CONSOLE)
        for _delta in answer.deltas:
            pass
        images.delete(answer.conversation_id, actor=CONSOLE)
        return image_result(answer)

    def documents_add(self, paths: list[str], collection: str) -> dict:
        """Add files; folders are walked. Each file's outcome is its own: one bad file harms no other."""
        library = self._services.library
        target = library.ensure_collection(collection, CONSOLE)
        added, refused = [], []
        for path in _files(paths):
            try:
                document = library.add(path, path.name, actor=CONSOLE, collection_id=target.id)
                added.append(_document(document))
            except PortalError as error:
                refused.append({"path": str(path), "error": error.to_record()})
        self._services.ingest.notify()
        return {"added": added, "refused": refused}

    def documents_list(self) -> dict:
        documents = self._services.library.list(CONSOLE)
        return {"documents": [_document(document) for document in documents]}

    def documents_remove(self, document_id: int) -> dict:
        self._services.library.delete(document_id, CONSOLE)
        return {"removed": document_id}

    def documents_reindex(self) -> dict:
        return {"documents": self._services.library.reindex(CONSOLE)}

    def users_add(self, name: str, roles: list[str]) -> dict:
        """A new account, and the link with which the person sets a password."""
        _id, token = self._services.people.invite(CONSOLE, name, _roles(roles))
        return {"name": name, "roles": roles, "link": self._link(token)}

    def users_list(self) -> dict:
        return {"users": [_person(person) for person in self._services.people.list(CONSOLE)]}

    def users_disable(self, name: str) -> dict:
        self._services.people.disable(CONSOLE, self._person_id(name))
        return {"name": name, "disabled": True}

    def users_enable(self, name: str) -> dict:
        self._services.people.enable(CONSOLE, self._person_id(name))
        return {"name": name, "disabled": False}

    def users_unlock(self, name: str) -> dict:
        self._services.people.unlock(CONSOLE, self._person_id(name))
        return {"name": name, "locked": False}

    def users_reset(self, name: str) -> dict:
        return {"name": name, "link": self._link(self._services.people.reset(CONSOLE, self._person_id(name)))}

    def audit_head(self) -> dict:
        """The end of the chain, to be kept elsewhere."""
        return {"head": str(self._services.audit_log.head(CONSOLE) or "")}

    def audit_verify(self, head: str = "") -> dict:
        """head: one that was saved before."""
        result = self._services.audit_log.verify(CONSOLE, head)
        return {
            "ok": result.ok,
            "events": result.events,
            "first_wrong": result.first_wrong,
            "findings": [str(finding) for finding in result.findings],
            "head": str(result.head or ""),
            "seconds": round(result.seconds, 2),
        }

    def audit_search(self, limit: int = 50, before_id: int | None = None, **chosen: str | None) -> dict:
        """chosen: since and until (dates, UTC), actor (name), action, outcome, text."""
        log = self._services.audit_log
        page = log.search(self._filter(**chosen), CONSOLE, before_id=before_id, limit=limit)
        return {"events": [_event(event) for event in page.events], "next_before_id": page.next_before_id}

    def audit_export(self, since: str | None = None, until: str | None = None) -> dict:
        """Dates (UTC), both included."""
        period = _period(since, until)
        exported = self._services.audit_log.export(CONSOLE, *period)
        return {"file": str(exported.path), "events": exported.events, "head": exported.head, "sha256": exported.sha256}

    def _filter(self, *, since=None, until=None, actor=None, action=None, outcome=None, text=None) -> Filter:
        begins, ends = _period(since, until)
        ids = {name: id_ for id_, name in self._services.audit_log.actors(CONSOLE)}
        if actor is not None and actor not in ids:
            raise NotFound(N_("There is nobody named {name}."), name=actor)
        found = ids[actor] if actor is not None else None
        return Filter(since=begins, until=ends, actor=found, action=action, outcome=outcome, text=text or "")

    def _person_id(self, name: str) -> str:
        for person in self._services.people.list(CONSOLE):
            if person.name == folded(name):
                return person.id
        raise NotFound(N_("There is nobody named {name}."), name=name)

    def _link(self, token: str) -> str:
        settings = self._services.settings
        return f"{settings.public_url.rstrip('/') or f'http://{settings.host}:{settings.port}'}/auth/link/{token}"

    def _ensure_engine(self) -> None:
        settings, deployments = self._services.settings, self._services.deployments
        if deployments.status(ROLE).state != "ready":
            self.started_engine = True
            deployments.start(ROLE, deployments.status(ROLE).model_id or settings.chat_model)
            deployments.wait_ready(ROLE, settings.engine_start_timeout_s)

    def _collection_ids(self, name: str | None) -> list[int] | None:
        if name is None:
            return None
        ids = [c.id for c in self._services.library.collections(CONSOLE) if c.name == name]
        if not ids:
            raise NotFound(N_("There is no collection {name}."), name=name)
        return ids


def _files(paths: list[str]) -> list[Path]:
    """The named files, and those below the named folders that look like documents."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in (".pdf", ".docx"))
        elif path.is_file():
            found.append(path)
        else:
            raise BadInput(N_("There is no file {path}."), path=str(path))
    return found


def _roles(names: list[str]) -> list[Role]:
    """Raises BadInput for a name that is no role."""
    known = [role for role in Role if role in names]
    if len(known) != len(set(names)):
        raise BadInput(N_("The roles are: {roles}."), roles=", ".join(Role))
    return known


def _period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Days to moments: from the first midnight to the one after the last. Raises BadInput for what is no date."""
    try:
        first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) if day else None for day in (since, until))
    except ValueError as error:
        raise BadInput(N_("A day is written like 2026-11-22.")) from error
    return first, last + timedelta(days=1) if last else None


def _event(event: Event) -> dict:
    return asdict(event) | {"at": event.at.isoformat()}


def _person(person: PersonView) -> dict:
    names = ("name", "full_name", "email", "method", "disabled", "locked")
    seen = person.seen_at.isoformat() if person.seen_at else None
    return {n: getattr(person, n) for n in names} | {"roles": sorted(person.roles), "last_used": seen}


def _document(document: Document) -> dict:
    names = ("id", "title", "collection_id", "state", "pages_done", "pages_total", "chunks_done", "chunks_total")
    record = {name: getattr(document, name) for name in names}
    return record | {"error": document.error, "notes": document.notes, "timings_ms": document.timings_ms}


def _citation(citation) -> dict:
    names = ("marker", "document", "page", "place", "quote", "sentence", "supported")
    return {name: getattr(citation, name) for name in names}


def _passage(passage) -> dict:
    return {"document": passage.title, "heading_path": passage.heading_path, "text": passage.text}
