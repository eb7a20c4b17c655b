"""PDF to blocks with exact document pages, through PDFium. Nothing is rendered here."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw

from services.documents.reading import hidden
from services.documents.reading.blocks import Block, Progress, Reading
from services.documents.reading.outline import Heading, headings_by_line
from services.documents.reading.quality import is_garbage
from services.documents.reading.refusals import damaged, password_needed, rights_managed
from services.documents.reading.text import CONTENTS_LINE, clean, drop_running_lines, joint, width
from services.errors import (
    EmptyFile,
    GarbageText,
    NoTextLayer,
    PortalError,
    ReadingLimit,
)
from services.translation import N_

IMAGE_LIMIT_MEGAPIXELS = 200
PAGES_NAMED_IN_A_NOTE = 12
CURVES_OF_TEXT = 20  # more objects than this on a page without text: letters drawn as curves


@dataclass
class PdfPage:
    """number: 1-based. marks: how many objects are drawn. image: width and height of its largest picture."""

    number: int
    lines: list[str]
    marks: int
    image: tuple[int, int]
    hidden_text: bool
    garbage: bool = False


def open_pdf(path: Path, password: str | None = None) -> pdfium.PdfDocument:
    """Raises PasswordNeeded, UnsupportedFormat (rights management), CorruptFile."""
    try:
        document = pdfium.PdfDocument(path, password=password)
        if len(document):
            return document
    except pdfium.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise password_needed() from error
        if error.err_code == raw.FPDF_ERR_SECURITY:
            raise rights_managed() from error
        raise damaged() from error
    raise damaged()


def read_pdf(path: Path, progress: Progress) -> Reading:
    """The whole text of a PDF, page by page.

    Raises what open_pdf raises, EmptyFile, NoTextLayer, GarbageText, ReadingLimit (a picture beyond all measure).
    """
    with closing(open_pdf(path)) as document:
        headings = _outline(document)
        pages = []
        for index in range(len(document)):
            pages.append(_read_page(document, index))
            progress(index + 1, len(document))
    _refuse_without_text(pages)
    notes = _notes(pages)
    for page in pages:
        if page.garbage:
            page.lines.clear()
    drop_running_lines([page.lines for page in pages])
    if headings:  # a contents page only repeats the outline
        for page in pages:
            page.lines[:] = [line for line in page.lines if not CONTENTS_LINE.match(line)]
    return Reading(_blocks(pages, headings), len(pages), notes)


def _outline(document: pdfium.PdfDocument) -> list[Heading]:
    headings = []
    for bookmark in document.get_toc(max_depth=8):
        destination = bookmark.get_dest()
        page = destination.get_index() if destination else None
        title = " ".join(clean(bookmark.get_title() or "").split())
        if page is not None and title:
            headings.append(Heading(bookmark.level, title, page + 1))
    return headings


def _read_page(document: pdfium.PdfDocument, index: int) -> PdfPage:
    try:
        page = document[index]
    except pdfium.PdfiumError:  # one broken page; the others are read
        return PdfPage(index + 1, [], marks=1, image=(0, 0), hidden_text=False)
    with closing(page), closing(page.get_textpage()) as text_page:
        marks, image, invisible = hidden.survey(page)
        conceals = invisible and not hidden.is_scan_with_text_layer(page)
        text = hidden.visible_text(text_page) if conceals else text_page.get_text_range()
    garbage = is_garbage(text)
    lines = [" ".join(line.split(" ")).strip() for line in clean(text.replace("\r", "\n")).split("\n")]
    return PdfPage(index + 1, [line for line in lines if line], marks, image, conceals, garbage)


def _refuse_without_text(pages: list[PdfPage]) -> None:
    with_text = [page for page in pages if page.lines]
    if with_text:
        if all(page.garbage for page in with_text):
            raise GarbageText(
                N_("The text in this file is unreadable: its fonts do not say which letters they draw."),
                hint=N_("Text recognition (OCR), which is coming, will read it. Or export the file again."),
            )
        return
    if not any(page.marks for page in pages):
        raise EmptyFile(N_("The document is blank."), hint=N_("Check that it was saved, and upload it again."))
    for page in pages:
        pixel_width, pixel_height = page.image
        if pixel_width * pixel_height > IMAGE_LIMIT_MEGAPIXELS * 1_000_000:
            raise ReadingLimit(
                N_("Page {page} is a picture of {width} × {height} pixels, too large to be read."),
                hint=N_("Save it with a lower resolution."),
                page=page.number,
                width=pixel_width,
                height=pixel_height,
            )
    raise NoTextLayer(
        N_("This is a scan: its pages are pictures and hold no text."),
        hint=N_("It needs text recognition (OCR), which is coming. Or upload a version with text."),
    )


def _notes(pages: list[PdfPage]) -> list[PortalError]:
    scans = [page for page in pages if not page.lines and (page.image[0] or page.marks > CURVES_OF_TEXT)]
    notes: list[PortalError] = []
    for found, kind, message in (
        (scans, NoTextLayer, N_("Pages without text (scans): {pages}")),
        ([page for page in pages if page.garbage], GarbageText, N_("Pages with unreadable text, left out: {pages}")),
        ([page for page in pages if page.hidden_text], PortalError, N_("Pages with invisible text, left out: {pages}")),
    ):
        if found:
            numbers = [str(page.number) for page in found]
            listed = ", ".join(numbers[:PAGES_NAMED_IN_A_NOTE])
            notes.append(kind(message, pages=listed + (" …" if len(numbers) > PAGES_NAMED_IN_A_NOTE else "")))
    return notes


def _blocks(pages: list[PdfPage], headings: list[Heading]) -> list[Block]:
    """Lines as blocks, knowing how they join the line before, also across a page break."""
    widths = sorted(width(line) for page in pages for line in page.lines)
    full_width = widths[int(0.95 * len(widths))] if widths else 0
    starts = headings_by_line([page.lines for page in pages], headings)
    blocks: list[Block] = []
    path: tuple[str, ...] = ()
    for page in pages:
        for index, line in enumerate(page.lines):
            before, between = "", "\n"
            if blocks:
                before, between = joint(blocks[-1].text, line, full_width)
            if new_path := starts.get((page.number, index)):
                path, between = new_path, "\n"
            elif blocks:
                blocks[-1].text = before
            blocks.append(Block(line, page.number, path, between))
    return blocks
