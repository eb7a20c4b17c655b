"""Pictures made ready for a question: a part cut out, several put on one sheet, scaled for a vision model.

Only clean pictures are opened here; everything else is decoded in the gate's child.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from services.errors import BadInput
from services.images.pictures import CleanImage, ImageText, Region, TextLine
from services.translation import N_

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL_SIDE = 1024  # pixels of the longer side that a model is given
LEAST_SIDE = 8
MARGIN, LABEL = 8, 28  # pixels around a picture on a sheet, and above it for its number


def cut_out(image: CleanImage, region: Region) -> CleanImage:
    """The part of the picture. Raises BadInput for one that is no part, or too small to look at."""
    left, top, right, bottom = _corners(image, region)
    if right - left < LEAST_SIDE or bottom - top < LEAST_SIDE:
        raise BadInput(N_("The marked part of the picture is too small."), hint=N_("Mark a larger part."))
    with _opened(image) as picture:
        return _encoded(picture.crop((left, top, right, bottom)), image.format)


def put_back(reading: ImageText, image: CleanImage, region: Region) -> ImageText:
    """What was read in a part, with boxes in pixels of the whole picture."""
    left, top, _right, _bottom = _corners(image, region)
    moved = [
        TextLine(line.text, tuple((x + left, y + top) for x, y in line.box), line.confidence) for line in reading.lines
    ]
    return ImageText(moved, reading.layout, reading.seconds)


def data_url(images: Sequence[CleanImage]) -> str:
    """One picture for a model: the only one, or a sheet with all of them, numbered; at most MODEL_SIDE pixels long."""
    one = images[0] if len(images) == 1 else side_by_side(images)
    with _opened(one) as picture:
        coloured = picture.convert("RGB")
    coloured.thumbnail((MODEL_SIDE, MODEL_SIDE))
    scaled = _encoded(coloured, one.format)
    return f"data:image/{scaled.format};base64,{base64.b64encode(scaled.data).decode()}"


def side_by_side(images: Sequence[CleanImage]) -> CleanImage:
    """A sheet of equal places, row by row, with the number of each picture above it."""
    from PIL import Image as pillow
    from PIL import ImageDraw, ImageFont

    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    place = MODEL_SIDE // columns
    sheet = pillow.new("RGB", (columns * place, rows * place), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LABEL - MARGIN)
    for at, image in enumerate(images):
        x, y = at % columns * place, at // columns * place
        pen.text((x + MARGIN, y + MARGIN // 2), str(at + 1), "black", font)
        with _opened(image) as picture:
            coloured = picture.convert("RGB")
        coloured.thumbnail((place - 2 * MARGIN, place - LABEL - MARGIN))
        sheet.paste(coloured, (x + MARGIN, y + LABEL))
    return _encoded(sheet, "png")


def _corners(image: CleanImage, region: Region) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels."""
    left, top, right, bottom = region
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise BadInput(N_("The marked part lies outside of the picture."), hint=N_("Mark a part of the picture."))
    width, height = image.width, image.height
    return math.floor(left * width), math.floor(top * height), math.ceil(right * width), math.ceil(bottom * height)


def _opened(image: CleanImage) -> Image:
    from PIL import Image as pillow

    return pillow.open(io.BytesIO(image.data), formats=[image.format.upper()])


def _encoded(picture: Image, format: Literal["png", "jpeg"]) -> CleanImage:
    out = io.BytesIO()
    picture.save(out, format, **({"quality": 92} if format == "jpeg" else {}))
    data = out.getvalue()
    return CleanImage(data, format, picture.width, picture.height, hashlib.sha256(data).hexdigest())
