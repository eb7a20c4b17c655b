"""The child that holds the text reader's models: `python -m services.images.reading_child`.

One JSON request per line on standard input, {"path": …}; one reply per line on standard output:
{"lines": [[text, box, upright box, confidence], …]} | {"error": "…"}; a box is [[x, y] × 4], the second of them as it
would stand with the picture turned so that its text is upright. It ends when its input closes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from services.documents import limits

if TYPE_CHECKING:
    import numpy as np
    from rapidocr import RapidOCR

THREADS = 2
MEMORY_MIB = 3072
LONGEST_LIFE_S = 24 * 3600  # of the processor; the parent ends it long before
LONG_SIDE_PX = 1800  # to which small pictures are enlarged: single digits on a chart are else overlooked
MOST_ENLARGED = 2.0
MARGIN_PX = 50  # around the picture: a lone word in a narrow strip is else overlooked
TALL = 1.5  # times as high as wide: a line that runs up or down
LEAST_LINES = 3  # before a picture is taken to lie on its side or head


def main() -> None:
    limits.apply(limits.Limits(memory_mib=MEMORY_MIB, cpu_s=LONGEST_LIFE_S, file_mib=0, niceness=10))
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not mix with the replies
    engine = None
    for line in sys.stdin:
        try:
            engine = engine or _load()
            reply = {"lines": _read(engine, json.loads(line)["path"])}
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _load() -> RapidOCR:
    """Its models lie in its package, and it downloads those only that are missing there."""
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": THREADS for kind in ("intra", "inter")}
    return RapidOCR(params={"Global.log_level": "error", **threads})


def _read(engine: RapidOCR, path: str) -> list[list]:
    import numpy as np
    from PIL import Image

    with Image.open(path, formats=["PNG", "JPEG"]) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    scale = max(1.0, min(MOST_ENLARGED, LONG_SIDE_PX / max(width, height)))
    if scale > 1:
        picture = picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    pixels = np.pad(np.asarray(picture)[:, :, ::-1], ((MARGIN_PX,) * 2, (MARGIN_PX,) * 2, (0, 0)), "edge")
    found, turns = _find(engine, pixels)
    if turns:
        found, _ = _find(engine, np.ascontiguousarray(np.rot90(pixels, turns)))
    lines = []
    for text, box, confidence in found:
        upright = [[(x - MARGIN_PX) / scale, (y - MARGIN_PX) / scale] for x, y in box]
        lines.append([text, [turned_back(x, y, turns, width, height) for x, y in upright], upright, confidence])
    return lines


def _find(engine: RapidOCR, pixels: np.ndarray) -> tuple[list[tuple], int]:
    """(text, box, confidence) of each line; and how many quarter turns to the left would set the text upright."""
    prepared, record = engine.preprocess_img(pixels)
    detected, directions, texts, crops = engine.run_ocr_steps(prepared, record)
    if detected.boxes is None or not directions.cls_res:
        return [], 0
    turns = turns_to_upright([box.tolist() for box in detected.boxes], [label for label, _ in directions.cls_res])
    found = engine.build_final_output(pixels, detected, directions, texts, crops, record)
    if found.txts is None:
        return [], 0
    return list(zip(found.txts, found.boxes.tolist(), map(float, found.scores), strict=True)), turns


def turns_to_upright(boxes: list, labels: list[str]) -> int:
    """Quarter turns to the left, 0 to 3, by what most lines say.

    labels: "0", or "180" for a line that stands on its head; a tall line was laid down by a turn to the left before.
    """
    if len(boxes) < LEAST_LINES:
        return 0
    sideways = sum(_is_tall(box) for box in boxes) * 2 > len(boxes)
    on_its_head = labels.count("180") * 2 > len(labels)
    return (1 if sideways else 0) + (2 if on_its_head else 0)


def _is_tall(box: list) -> bool:
    across, down = [x for x, _ in box], [y for _, y in box]
    return max(down) - min(down) > TALL * (max(across) - min(across))


def turned_back(x: float, y: float, turns: int, width: float, height: float) -> list[float]:
    """A point of the turned picture in the original one, not beyond its edges. turns: quarter turns to the left."""
    across, down = ((x, y), (width - y, x), (width - x, height - y), (y, height - x))[turns]
    return [round(min(max(across, 0), width), 1), round(min(max(down, 0), height), 1)]


if __name__ == "__main__":
    main()
