"""Word to blocks: all the text in document order, numbered by the paragraphs and tables of the body."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from services.documents.reading.blocks import Block, Progress, Reading
from services.documents.reading.package import WordPackage, open_package
from services.documents.reading.refusals import damaged
from services.documents.reading.text import clean
from services.documents.reading.word_paragraph import W, paragraph
from services.documents.reading.word_styles import Numbering, Styles
from services.errors import EmptyFile, NoTextLayer, PortalError
from services.translation import N_

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CONTAINERS = {
    W + name for name in ("sdt", "sdtContent", "customXml", "smartTag", "ins", "moveTo", "body", "hdr", "ftr")
}
SEPARATOR_NOTES = ("separator", "continuationSeparator", "continuationNotice")


def read_word(path: Path, progress: Progress, unpacked_max_mib: int) -> Reading:
    """The whole text of a Word file; its places are the paragraphs and tables of the body, counted from 1.

    Comments and deleted revisions are left out. Raises what open_package raises, EmptyFile, NoTextLayer.
    """
    with open_package(path, unpacked_max_mib) as package:
        main = package.xml(package.main)
        body = main.find(W + "body") if main is not None else None
        if body is None:
            raise damaged()
        try:
            reader = _WordReader(package, progress)
            reader.read(body)
        except RecursionError as error:  # nested beyond what any editor writes
            raise damaged() from error
        pictures = package.has_pictures()
    if not reader.blocks:
        raise _without_text(pictures)
    notes = [PortalError(N_("The document has hidden text, which was left out."))] if reader.hidden_text else []
    return Reading(reader.blocks, reader.place, notes)


def _without_text(pictures: bool) -> PortalError:
    if pictures:
        return NoTextLayer(
            N_("The document holds only pictures and no text."),
            hint=N_("It needs text recognition (OCR), which is coming. Or upload a version with text."),
        )
    return EmptyFile(N_("The document is blank."), hint=N_("Check that it was saved, and upload it again."))


@dataclass
class _WordReader:
    """Walks the body; `place` is the number of the body block at hand."""

    package: WordPackage
    progress: Progress
    place: int = 0
    hidden_text: bool = False
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._styles = Styles(self.package.beside_main("styles.xml"))
        self._numbering = Numbering(self.package.beside_main("numbering.xml"))
        self._notes = {kind: self._note_elements(kind) for kind in ("footnote", "endnote")}
        self._path: list[str] = []

    def read(self, body: Element) -> None:
        elements = list(_flat(body))
        for text in self._margins("header"):
            self._emit(text, place=1)
        for element in elements:
            self.place += 1
            if element.tag == W + "tbl":
                self._table(element)
            else:
                self._paragraph(element)
            self.progress(self.place, len(elements))
        for text in self._margins("footer"):
            self._emit(text, place=max(1, self.place))

    def _emit(self, text: str, place: int | None = None) -> None:
        text = clean(text).strip()
        if text:
            self.blocks.append(Block(text, place or self.place, tuple(self._path)))

    def _paragraph(self, element: Element) -> None:
        content = paragraph(element)
        self.hidden_text = self.hidden_text or content.hidden
        text = clean(content.text).strip()
        if text:
            text = self._label(element) + text
            level = self._styles.outline_level(element)
            if level is not None and len(text) <= 200:
                del self._path[level:]
                self._path.append(" ".join(text.split()))
            self._emit(text)
        self._attached(content)

    def _attached(self, content) -> None:
        """Text boxes and notes that hang on a paragraph, after it."""
        for box in content.boxes:
            for text in self._texts(box):
                self._emit(text)
        for kind, note_id in content.notes:
            for text in self._texts(self._notes[kind].get(note_id)):
                self._emit(text)

    def _label(self, element: Element) -> str:
        """ "3.2 " of a numbered paragraph."""
        number = self._numbering.label(self._styles.numbering(element))
        return f"{number} " if number else ""

    def _table(self, table: Element) -> None:
        rows = [list(_cells(row)) for row in _rows(table)]
        if all(len(row) <= 1 for row in rows):  # a frame around ordinary text
            for row in rows:
                for cell in row:
                    self._frame(cell)
            return
        for row in rows:
            cells = [" ".join(" ".join(self._texts(cell)).split()) for cell in row]
            if any(cells):
                self._emit(" | ".join(cells))

    def _frame(self, cell: Element) -> None:
        for element in _flat(cell):
            if element.tag == W + "tbl":
                self._table(element)
            else:
                self._paragraph(element)

    def _texts(self, container: Element | None) -> Iterator[str]:
        """Paragraphs and table rows inside a cell, text box or note, with what hangs on them."""
        for element in _flat(container) if container is not None else ():
            if element.tag == W + "tbl":
                for row in _rows(element):
                    cells = [" ".join(self._texts(cell)) for cell in _cells(row)]
                    yield " | ".join(cell for cell in cells if cell)
                continue
            content = paragraph(element)
            self.hidden_text = self.hidden_text or content.hidden
            if content.text.strip():
                yield self._label(element) + content.text.strip()
            for box in content.boxes:
                yield from self._texts(box)
            for kind, note_id in content.notes:
                yield from self._texts(self._notes[kind].pop(note_id, None))

    def _note_elements(self, kind: str) -> dict[str, Element]:
        part = self.package.beside_main(f"{kind}s.xml")
        notes = part.findall(W + kind) if part is not None else []
        return {note.get(W + "id", ""): note for note in notes if note.get(W + "type") not in SEPARATOR_NOTES}

    def _margins(self, kind: str) -> list[str]:
        """The different texts of all headers or footers, page numbers alone left out."""
        found: dict[str, None] = {}
        for name in self.package.named_like(kind):
            part = self.package.beside_main(name)
            for text in self._texts(part):
                if any(ch.isalpha() for ch in text):
                    found[text.strip()] = None
        return list(found)


def _flat(container: Element) -> Iterator[Element]:
    """Paragraphs and tables of a container in order, content controls and insertions looked into."""
    for child in container:
        if child.tag in (W + "p", W + "tbl"):
            yield child
        elif child.tag in CONTAINERS:
            yield from _flat(child)


def _rows(table: Element) -> Iterator[Element]:
    yield from _inside(table, W + "tr")


def _cells(row: Element) -> Iterator[Element]:
    """Cells of a row; what a vertical merge goes on into is empty and left out."""
    yield from _inside(row, W + "tc")


def _inside(element: Element, tag: str) -> Iterator[Element]:
    for child in element:
        if child.tag == tag:
            yield child
        elif child.tag in CONTAINERS:
            yield from _inside(child, tag)
