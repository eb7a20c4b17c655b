"""What an operator does from the console, as functions from JSON to JSON.

cli.py calls them in its own process when no portal runs, and through the running portal's operator door otherwise:
either way the actor is the console.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from services.errors import BadInput, NotFound, PortalError
from services.permissions import CONSOLE
from services.translation import N_

if TYPE_CHECKING:
    from db.tables import Document
    from services.bootstrap import Services

ROLE = "chat"


class Operations:
    def __init__(self, services: Services) -> None:
        self._services = services
        self.started_engine = False
        self._by_name = {
            "ask": self.ask,
            "documents_add": self.documents_add,
            "documents_list": self.documents_list,
            "documents_remove": self.documents_remove,
            "documents_reindex": self.documents_reindex,
            "engine_status": self.engine_status,
            "engine_start": self.engine_start,
            "engine_stop": self.engine_stop,
            "engine_logs": self.engine_logs,
        }

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

    def engine_status(self) -> dict:
        status = self._services.deployments.status(ROLE)
        record = {name: value for name, value in asdict(status).items() if name != "error"}
        return record | {"state": str(status.state), "error": status.error.to_record() if status.error else None}

    def engine_start(self, model_id: str, wait: bool = True) -> dict:
        self._services.deployments.start(ROLE, model_id)
        if wait:
            self._services.deployments.wait_ready(ROLE, self._services.settings.engine_start_timeout_s)
        return self.engine_status()

    def engine_stop(self) -> dict:
        self._services.deployments.stop(ROLE)
        return self.engine_status()

    def engine_logs(self, lines: int = 200) -> dict:
        return {"lines": self._services.deployments.log_tail(ROLE, lines)}

    def _ensure_engine(self) -> None:
        settings = self._services.settings
        if self._services.deployments.status(ROLE).state != "ready":
            self.started_engine = True
            self._services.deployments.start(ROLE, settings.chat_model)
            self._services.deployments.wait_ready(ROLE, settings.engine_start_timeout_s)

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


def _document(document: Document) -> dict:
    names = ("id", "title", "collection_id", "state", "pages_done", "pages_total", "chunks_done", "chunks_total")
    record = {name: getattr(document, name) for name in names}
    return record | {"error": document.error, "notes": document.notes, "timings_ms": document.timings_ms}


def _citation(citation) -> dict:
    names = ("marker", "document", "page", "place", "quote", "sentence", "supported")
    return {name: getattr(citation, name) for name in names}


def _passage(passage) -> dict:
    return {"document": passage.title, "heading_path": passage.heading_path, "text": passage.text}
