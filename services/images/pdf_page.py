"""One page of a PDF as a picture. Runs in the gate's child."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pypdfium2 as pdfium
from pypdfium2 import raw

from services.images import refusals
from services.images.decoding import LEAST_SIDE_PX, bounded

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_PER_POINT = 200 / 72


def draw(path: Path, number: int) -> tuple[Image, int]:
    """The 1-based page as RGB at 200 dots per inch, fewer when it is very large; and how many pages there are.

    Raises PasswordNeeded, CorruptFile, UnreadableFile (no such page, or one of no size).
    """
    try:
        with closing(pdfium.PdfDocument(path)) as document:
            pages = len(document)
            if not 1 <= number <= pages:
                raise refusals.no_such_page(number, pages)
            document.init_forms()
            with closing(document[number - 1]) as page:
                return _render(page), pages
    except pdfium.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise refusals.protected() from error
        raise refusals.damaged() from error


def _render(page: pdfium.PdfPage) -> Image:
    width, height = (points * PIXELS_PER_POINT for points in page.get_size())
    if min(width, height) < LEAST_SIDE_PX:
        raise refusals.too_few_pixels(round(width), round(height), LEAST_SIDE_PX)
    size = bounded(width, height)
    if min(size) < LEAST_SIDE_PX:
        raise refusals.too_narrow(round(width), round(height))
    scale = PIXELS_PER_POINT * size[0] / width
    return page.render(scale=scale, rev_byteorder=True).to_pil().convert("RGB")
