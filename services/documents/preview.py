"""What a citation shows: the page of a PDF as a picture, the paragraphs of a Word file, the quote marked in both."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from db.tables import Chunk, Document
from services.audit.details import FileDetail
from services.audit.events import Action, EventOutcome
from services.audit.trail import AuditTrail
from services.documents import child
from services.documents.files import MIB, storage_errors
from services.documents.library import Library
from services.documents.quotes import find_quotes
from services.errors import BadInput
from services.permissions import Actor
from services.settings import Settings
from services.translation import N_

SAME_LOOK_S = 60
LOOKS_KEPT = 10_000
DRAWING_VERSION = 1  # raise it when pages are drawn differently: cached pictures are then not used


@dataclass(frozen=True)
class Paragraph:
    """number: of the paragraph (Word) or document page (PDF). marked: [start, end) ranges of `text`."""

    number: int
    text: str
    marked: list[tuple[int, int]]


@dataclass(frozen=True)
class PassageView:
    """A chunk for the screen. heading_path: outermost first. text: whole. paragraphs: its parts in reading order."""

    document_id: int
    title: str
    heading_path: list[str]
    text: str
    paragraphs: list[Paragraph]


class Preview:
    """Pictures of pages are drawn in a limited child and kept on disk, at most settings.preview_cache_mib of them."""

    def __init__(self, library: Library, audit: AuditTrail, settings: Settings) -> None:
        self._library, self._audit, self._settings = library, audit, settings
        self._looks: OrderedDict[tuple, float] = OrderedDict()  # by person, document, page: when it was last recorded

    def page_image(
        self, document: Document, page: int, quotes: Sequence[str], actor: Actor, width_px: int = 1100
    ) -> bytes:
        """PNG of a document page (1-based) of a PDF with the quotes marked.

        Raises NotFound, BadInput (a Word file), ReadingLimit (the page is too heavy to draw), CorruptFile.
        """
        document = self._library.get(document.id, actor)
        if document.format != "pdf":
            raise BadInput(N_("Only PDF files have pages."))
        self._record(actor, document, page)
        key = json.dumps([DRAWING_VERSION, document.sha256, document.id, page, list(quotes), width_px])
        cached = self._settings.previews_dir / f"{hashlib.sha256(key.encode()).hexdigest()}.png"
        if not cached.exists():
            self._draw(self._library.file_path(document), page, quotes, width_px, cached)
        else:
            os.utime(cached)
        return cached.read_bytes()

    def _record(self, actor: Actor, document: Document, page: int | None) -> None:
        """One event a look: a screen draws the same page again and again while it is open."""
        look, now = (actor.id, document.id, page), time.monotonic()
        if now - self._looks.get(look, -SAME_LOOK_S) < SAME_LOOK_S:
            return
        detail = FileDetail(document_id=document.id, title=document.title, sha256=document.sha256, page=page)
        self._audit.record(actor, Action.PREVIEW, EventOutcome.SUCCEEDED, document.title, detail)
        self._looks[look] = now
        while len(self._looks) > LOOKS_KEPT:
            self._looks.popitem(last=False)

    def _draw(self, path: Path, page: int, quotes: Sequence[str], width_px: int, target: Path) -> None:
        with storage_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=target.parent, suffix=".new")
            os.close(handle)
        request = {
            "work": "page",
            "path": str(path.resolve()),
            "page": page,
            "quotes": list(quotes),
            "width_px": width_px,
            "target": str(Path(draft).resolve()),
        }
        try:
            for _message in child.run(request, self._settings):
                pass
            os.replace(draft, target)
        finally:
            Path(draft).unlink(missing_ok=True)
        self._bound_cache(keep=target)

    def _bound_cache(self, keep: Path) -> None:
        """Delete the pictures that were not looked at for longest."""
        files = [(path.stat(), path) for path in self._settings.previews_dir.glob("*.png")]
        total = sum(stat.st_size for stat, _ in files)
        for stat, path in sorted(files, key=lambda entry: entry[0].st_mtime):
            if total <= self._settings.preview_cache_mib * MIB:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                total -= stat.st_size

    def passage(self, chunk_id: int, actor: Actor, quotes: Sequence[str] = ()) -> PassageView:
        """A chunk by paragraphs, with the quotes marked. Raises NotFound."""
        document, chunk = self._library.chunk(chunk_id, actor)
        self._record(actor, document, None)
        marked = [set(indexes) for indexes in find_quotes(list(chunk.text), list(quotes))]
        everything = set().union(*marked) if marked else set()
        return PassageView(document.id, document.title, chunk.heading_path, chunk.text, _paragraphs(chunk, everything))


def _paragraphs(chunk: Chunk, marked: set[int]) -> list[Paragraph]:
    ends = [offset for _, offset in chunk.segments[1:]] + [len(chunk.text)]
    return [
        Paragraph(number, chunk.text[start:end].rstrip("\n"), _ranges(marked, start, end))
        for (number, start), end in zip(chunk.segments, ends, strict=True)
    ]


def _ranges(marked: set[int], start: int, end: int) -> list[tuple[int, int]]:
    """Runs of marked characters between start and end, counted from start; gaps of white space are bridged by one."""
    ranges: list[tuple[int, int]] = []
    for index in sorted(i - start for i in marked if start <= i < end):
        if ranges and index - ranges[-1][1] <= 1:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return ranges
