"""A picture file to upright RGB pixels of bounded size. Runs in the gate's child."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image as pillow
from PIL import ImageCms

from services.images import refusals

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_SIDE_PX = 8
LONGEST_SIDE_PX = 4000
MOST_PIXELS = 12_000_000
MOST_FRAMES = 2000
STRIP_ROWS = 128  # of the result
MARGIN_ROWS = 4  # that the resampling of a strip looks at beyond its own, in rows of the result
ORIENTATION = 0x0112
UPRIGHT = {
    2: pillow.Transpose.FLIP_LEFT_RIGHT,
    3: pillow.Transpose.ROTATE_180,
    4: pillow.Transpose.FLIP_TOP_BOTTOM,
    5: pillow.Transpose.TRANSPOSE,
    6: pillow.Transpose.ROTATE_270,
    7: pillow.Transpose.TRANSVERSE,
    8: pillow.Transpose.ROTATE_90,
}
WHITE = (255, 255, 255)

ToRgb = Callable[["Image"], "Image"]


def decode(kind: str, path: Path, page: int, limit_megapixels: int) -> tuple[Image, int]:
    """The page of a TIFF, the first frame of others; and how many pages or frames there are.

    kind: Pillow's name of the format; no other decoder is tried. Raises UnreadableFile, and whatever Pillow raises.
    """
    with pillow.open(path, formats=[kind]) as source:
        pages = getattr(source, "n_frames", 1)
        if pages > MOST_FRAMES:
            raise refusals.too_many_frames(MOST_FRAMES)
        if kind == "TIFF" and page > pages:
            raise refusals.no_such_page(page, pages)
        if pages > 1:
            source.seek(page - 1 if kind == "TIFF" else 0)
        _check_size(source, limit_megapixels)
        turn = UPRIGHT.get(_orientation(source))
        size = bounded(*source.size)
        source.draft("RGB", size)
        source.load()
        picture = _scale(source, size)
    return (picture.transpose(turn) if turn else picture), pages


def _check_size(source: Image, limit_megapixels: int) -> None:
    width, height = source.size
    if width * height > limit_megapixels * 1_000_000:
        raise refusals.too_many_pixels(width, height, limit_megapixels)
    if min(width, height) < LEAST_SIDE_PX:
        raise refusals.too_few_pixels(width, height, LEAST_SIDE_PX)
    if min(bounded(width, height)) < LEAST_SIDE_PX:
        raise refusals.too_narrow(width, height)


def bounded(width: float, height: float) -> tuple[int, int]:
    """The size in pixels that keeps the shape within LONGEST_SIDE_PX and MOST_PIXELS; never larger than it is."""
    scale = min(1, LONGEST_SIDE_PX / max(width, height), (MOST_PIXELS / (width * height)) ** 0.5)
    return round(width * scale), round(height * scale)


def _orientation(source: Image) -> int:
    """As the EXIF or XMP says; 1, upright, when that is damaged: the pixels are what counts."""
    try:
        found = source.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return 1
    return found if isinstance(found, int) else 1


def _scale(source: Image, size: tuple[int, int]) -> Image:
    """RGB of that size, made strip by strip: a second picture of full size would not fit into the child's memory."""
    to_rgb = _to_rgb(source)
    result = pillow.new("RGB", size)
    ratio = source.height / size[1]
    for top in range(0, size[1], STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, size[1])
        first = max(0, int((top - MARGIN_ROWS) * ratio))
        last = min(source.height, int((bottom + MARGIN_ROWS) * ratio) + 1)
        strip = to_rgb(source.crop((0, first, source.width, last)))
        if source.size != size:
            box = (0, top * ratio - first, source.width, min(bottom * ratio - first, strip.height))
            strip = strip.resize((size[0], bottom - top), pillow.Resampling.LANCZOS, box=box, reducing_gap=1.0)
        else:
            strip = strip.crop((0, top - first, size[0], bottom - first))
        result.paste(strip, (0, top))
    return result


def _to_rgb(source: Image) -> ToRgb:
    """What turns a part of the source into RGB: its colour profile, its depth, its transparency."""
    if source.mode in ("I", "F") or source.mode.startswith("I;16"):
        return _deep_to_rgb(source)
    if "A" in source.mode or source.mode in ("PA", "La", "RGBa") or "transparency" in source.info:
        return _on_white
    return _profiled(source) or (lambda part: part.convert("RGB"))


def _on_white(part: Image) -> Image:
    part = part.convert("RGBA")
    background = pillow.new("RGB", part.size, WHITE)
    background.paste(part, mask=part.getchannel("A"))
    return background


def _deep_to_rgb(source: Image) -> ToRgb:
    """More than 8 bits of grey: the whole range is kept, 16 bits by their value, others from darkest to lightest."""
    low, high = source.getextrema()
    if source.mode.startswith("I;16") or (source.mode == "I" and low >= 0 and high <= 65535):
        low, high = 0, next(top for top in (255, 4095, 65535) if high <= top)
    scale = 255 / (high - low) if high > low else 0.0

    def convert(part: Image) -> Image:
        grey = part.convert("F").point(lambda value: value * scale + (0.5 - low * scale))
        return grey.convert("L").convert("RGB")

    return convert


def _profiled(source: Image) -> ToRgb | None:
    """To sRGB by the colour profile in the file; None when there is none or it does not work."""
    profile = source.info.get("icc_profile")
    if not profile or source.mode not in ("L", "RGB", "CMYK"):
        return None
    try:
        given, wanted = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(given, wanted, source.mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return lambda part: ImageCms.applyTransform(part, transform)
