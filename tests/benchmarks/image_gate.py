"""Every file of the evaluation set through the image gate, and large ones made here: outcome, seconds, peak memory.

.venv/bin/python -m tests.benchmarks.image_gate [FOLDER]
"""

from __future__ import annotations

import io
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from services.errors import PortalError
from services.images.gate import Gate
from services.settings import Settings
from tests.benchmarks.tables import table
from tests.evaluation_data import EVAL

COLUMNS = ("file", "outcome", "s", "peak MiB")
LARGE = {  # name: format, mode, megapixels
    "50 Mpx RGB.png": ("PNG", "RGB", 50),
    "50 Mpx RGBA.png": ("PNG", "RGBA", 50),
    "50 Mpx.jpg": ("JPEG", "RGB", 50),
    "50 Mpx CMYK.jpg": ("JPEG", "CMYK", 50),
    "50 Mpx.tif": ("TIFF", "RGB", 50),
    "20 Mpx.webp": ("WEBP", "RGB", 20),
    "50 Mpx.gif": ("GIF", "P", 50),
    "12 Mpx 16-bit.png": ("PNG", "I;16", 12),
    "50 Mpx 16-bit.png": ("PNG", "I;16", 50),
    "51 Mpx.png": ("PNG", "RGB", 51),
}


def main() -> None:
    """A refused child's memory is not known; no child can have more than its limit of address space."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else EVAL / "images"
    rows = []
    with tempfile.TemporaryDirectory() as home:
        gate = Gate(Settings(home=Path(home), image_max_mib=200))
        for name, source in (*_files(folder), *_large()):
            rows.append(_measure(gate, name, source))
    print(table(rows, COLUMNS))
    peaks = [float(row["peak MiB"]) for row in rows if row["peak MiB"]]
    print(f"\n{len(rows)} files, {len(peaks)} admitted; slowest {max(float(row['s']) for row in rows)} s,", end=" ")
    print(f"most memory {max(peaks):.0f} MiB")


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    return ((path.name, path) for path in sorted(folder.iterdir()) if path.suffix != ".csv")


def _large() -> Iterator[tuple[str, bytes]]:
    grain = Image.frombytes("L", (200, 150), random.Random(0).randbytes(200 * 150))
    for name, (format, mode, megapixels) in LARGE.items():
        width = int((megapixels * 1_000_000 * 4 / 3) ** 0.5) // 4 * 4
        stored = io.BytesIO()
        grain.resize((width, width * 3 // 4)).convert(mode).save(stored, format)
        yield name, stored.getvalue()


def _measure(gate: Gate, name: str, source: Path | bytes) -> dict:
    started = time.perf_counter()
    peak_mib = ""
    try:
        image, peak = gate.admit_measured(source, name=name)
        outcome, peak_mib = f"{image.format} {image.width} × {image.height}", f"{peak:.0f}"
    except PortalError as error:
        outcome = f"{type(error).__name__}: {error}"
    return {"file": name, "outcome": outcome, "s": f"{time.perf_counter() - started:.2f}", "peak MiB": peak_mib}


if __name__ == "__main__":
    main()
