"""The child that opens one picture: `python -m services.images.gate_child`, request on stdin, one JSON line on stdout.

{"path", "kind", "page", "max_megapixels", "target", "limits"} → {"format", "width", "height", "pages", "peak_mib"}
with the clean picture in target, or {"error": record}. What is not a PortalError ends the child; the parent makes a
reason of it.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from services.documents import limits
from services.errors import PortalError
from services.images import refusals

if TYPE_CHECKING:
    from PIL.Image import Image

FEW_COLOURS = 4096  # a drawing, a chart or a screenshot: JPEG would blur its text
JPEG_QUALITY = 92


def main() -> None:
    request = json.loads(sys.stdin.readline())
    stream = sys.stdout
    sys.stdout = sys.stderr
    limits.apply(limits.Limits(**request["limits"], niceness=0))  # somebody waits for it
    try:
        reply = _admit(request)
    except PortalError as error:
        reply = {"error": error.to_record()}
    print(json.dumps({**reply, "peak_mib": _peak_mib()}), file=stream)


def _peak_mib() -> float:
    """Of this program alone: getrusage counts what the parent had when it forked. 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def _admit(request: dict) -> dict:
    from PIL import Image as pillow

    limit = request["max_megapixels"]
    pillow.MAX_IMAGE_PIXELS = limit * 500_000  # Pillow warns above this and raises above twice as many
    warnings.simplefilter("ignore", pillow.DecompressionBombWarning)
    try:
        picture, pages = _open(request["kind"], Path(request["path"]), request["page"], limit)
        return {"pages": pages, **_save(picture, request["kind"] == "JPEG", Path(request["target"]))}
    except pillow.DecompressionBombError as error:
        raise refusals.unpacks_too_large(limit) from error
    except (OSError, EOFError, SyntaxError, TypeError, ValueError) as error:  # what Pillow says of damaged files
        raise refusals.damaged() from error


def _open(kind: str, path: Path, page: int, limit_megapixels: int) -> tuple[Image, int]:
    """An upright RGB picture of bounded size, and how many pages or frames the file has."""
    if kind == "PDF":
        from services.images.pdf_page import draw

        return draw(path, page)
    from services.images.decoding import decode

    return decode(kind, path, page, limit_megapixels)


def _save(picture: Image, photo: bool, target: Path) -> dict:
    photo = photo or picture.getcolors(FEW_COLOURS) is None
    if photo:
        picture.save(target, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(target, "PNG", compress_level=4)
    return {"format": "jpeg" if photo else "png", "width": picture.width, "height": picture.height}


if __name__ == "__main__":
    main()
