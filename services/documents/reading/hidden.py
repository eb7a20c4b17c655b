"""Text that is in a PDF page but is not drawn: a carrier of injected instructions, or the text layer of a scan."""

from __future__ import annotations

import pypdfium2 as pdfium
from pypdfium2 import raw

MAX_DEPTH = 4
SCAN_COVER_SHARE = 0.5


def survey(page: pdfium.PdfPage) -> tuple[int, tuple[int, int], bool]:
    """(number of objects drawn, pixels of the largest picture, some text is invisible), without decoding a picture."""
    invisible, marks, largest = False, 0, (0, 0)
    for kind, handle in _objects(page):
        marks += 1
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            invisible = invisible or _is_invisible(handle)
        elif kind == raw.FPDF_PAGEOBJ_IMAGE:
            largest = max(largest, _pixels(handle), key=lambda size: size[0] * size[1])
    return marks, largest, invisible


def is_scan_with_text_layer(page: pdfium.PdfPage) -> bool:
    """A picture covers most of the page: the invisible text over it is what OCR made of it."""
    page_width, page_height = page.get_size()
    for kind, handle in _objects(page):
        if kind == raw.FPDF_PAGEOBJ_IMAGE:
            left, bottom, right, top = (raw.c_float() for _ in range(4))
            if raw.FPDFPageObj_GetBounds(handle, left, bottom, right, top):
                covered = abs(right.value - left.value) * abs(top.value - bottom.value)
                if covered >= SCAN_COVER_SHARE * page_width * page_height:
                    return True
    return False


def visible_text(text_page: pdfium.PdfTextPage) -> str:
    """The page's text without what is drawn in the invisible mode."""
    kept: list[str] = []
    start, seen = 0, {}
    count = text_page.count_chars()
    for index in range(count + 1):
        handle = raw.FPDFText_GetTextObject(text_page.raw, index) if index < count else None
        key = raw.ctypes.cast(handle, raw.ctypes.c_void_p).value if handle else None
        if key is not None and key not in seen:
            seen[key] = _is_invisible(handle)
        if index == count or (key is not None and seen[key]):
            if index > start:
                kept.append(text_page.get_text_range(start, index - start))
            start = index + 1
    return "".join(kept)


def _is_invisible(handle: object) -> bool:
    return raw.FPDFTextObj_GetTextRenderMode(handle) == raw.FPDF_TEXTRENDERMODE_INVISIBLE


def _pixels(handle: object) -> tuple[int, int]:
    width, height = raw.c_uint(), raw.c_uint()
    return (width.value, height.value) if raw.FPDFImageObj_GetImagePixelSize(handle, width, height) else (0, 0)


def _objects(page: pdfium.PdfPage):
    """(type, handle) of the page's objects, those inside forms included."""
    for index in range(raw.FPDFPage_CountObjects(page.raw)):
        yield from _walk(raw.FPDFPage_GetObject(page.raw, index), MAX_DEPTH)


def _walk(handle: object, depth: int):
    kind = raw.FPDFPageObj_GetType(handle)
    if kind != raw.FPDF_PAGEOBJ_FORM:
        yield kind, handle
    elif depth:
        for index in range(raw.FPDFFormObj_CountObjects(handle)):
            yield from _walk(raw.FPDFFormObj_GetObject(handle, index), depth - 1)
