"""A document page as a picture with quotes marked. Runs in the child: a page can hold a picture of any size."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pypdfium2 import raw

from services.documents.quotes import find_quotes
from services.documents.reading.pdf import open_pdf
from services.errors import NotFound
from services.translation import N_

if TYPE_CHECKING:
    import pypdfium2 as pdfium
    from PIL.Image import Image

MAX_PIXELS = 12_000_000
MARKER = (255, 226, 89)

Box = tuple[float, float, float, float]  # left, bottom, right, top in points of the page


def draw_page(path: Path, number: int, quotes: list[str], width_px: int, target: Path) -> int:
    """Write the 1-based page as PNG; returns how many of the quotes were found on it.

    A quote that goes on from or to another page is marked as far as it stands on this one. Raises NotFound.
    """
    with closing(open_pdf(path)) as document:
        if not 1 <= number <= len(document):
            raise NotFound(N_("The document has no page {page}."), page=number)
        with closing(document[number - 1]) as page, closing(page.get_textpage()) as text_page:
            boxes = [_boxes(text_page, span) for span in find_quotes(_characters(text_page), quotes)]
            image = _render(page, width_px)
            _mark(image, page, [box for found in boxes for box in found])
    image.save(target, "PNG")
    return sum(bool(found) for found in boxes)


def _characters(text_page: pdfium.PdfTextPage) -> list[str]:
    codes = (raw.FPDFText_GetUnicode(text_page.raw, index) for index in range(text_page.count_chars()))
    return [chr(code) if code < 0x110000 else "\ufffd" for code in codes]


def _boxes(text_page: pdfium.PdfTextPage, indexes: list[int]) -> list[Box]:
    """Boxes around the characters, those of one line joined."""
    boxes: list[Box] = []
    for index in indexes:
        left, bottom, right, top = text_page.get_charbox(index, loose=True)
        if right <= left or top <= bottom:
            continue
        if boxes:
            last = boxes[-1]
            same_line = min(top, last[3]) - max(bottom, last[1]) > 0.5 * min(top - bottom, last[3] - last[1])
            if same_line and -1 <= left - last[2] < 2 * (top - bottom):
                boxes[-1] = (last[0], min(bottom, last[1]), right, max(top, last[3]))
                continue
        boxes.append((left, bottom, right, top))
    return boxes


def _render(page: pdfium.PdfPage, width_px: int) -> Image:
    page_width, page_height = page.get_size()
    scale = width_px / page_width
    scale = min(scale, (MAX_PIXELS / (page_width * page_height)) ** 0.5)
    return page.render(scale=scale, rev_byteorder=True).to_pil().convert("RGB")


def _mark(image: Image, page: pdfium.PdfPage, boxes: list[Box]) -> None:
    """Lay a marker's colour under the text: the darker of both wins, so that letters stay black."""
    from PIL import Image as pillow
    from PIL import ImageChops

    for left, bottom, right, top in boxes:
        corners = [_to_pixel(page, image.size, x, y) for x, y in ((left, top), (right, bottom))]
        (x0, y0), (x1, y1) = corners
        area = (max(0, min(x0, x1) - 1), max(0, min(y0, y1) - 1), min(image.width, max(x0, x1) + 1),
                min(image.height, max(y0, y1) + 1))  # fmt: skip
        if area[0] < area[2] and area[1] < area[3]:
            part = image.crop(area)
            image.paste(ImageChops.darker(part, pillow.new("RGB", part.size, MARKER)), area)


def _to_pixel(page: pdfium.PdfPage, size: tuple[int, int], x: float, y: float) -> tuple[int, int]:
    """Page coordinates to those of the picture, whatever the page's rotation and crop box."""
    pixel_x, pixel_y = raw.c_int(), raw.c_int()
    raw.FPDF_PageToDevice(page.raw, 0, 0, *size, 0, x, y, pixel_x, pixel_y)
    return pixel_x.value, pixel_y.value
