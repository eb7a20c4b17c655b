"""How long a manual takes until it can be asked, and until it is fully embedded, by step.

.venv/bin/python -m tests.benchmarks.ingestion FILE…    (default: both manuals of the evaluation data)
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from services.bootstrap import build
from services.permissions import CONSOLE
from services.settings import Settings
from tests.evaluation_data import EVAL

MANUALS = [EVAL / "documents" / f"debian__debian-reference.{language}.pdf" for language in ("zh-cn", "en")]
PATIENCE_S = 3600


def measure(path: Path) -> dict:
    """One file in a portal of its own that does nothing else."""
    with tempfile.TemporaryDirectory() as home:
        services = build(Settings(home=Path(home), engine_autostart=False))
        collection = services.library.ensure_collection("benchmark", CONSOLE)
        services.ingest.start()
        began = time.monotonic()
        document = services.library.add(path, path.name, actor=CONSOLE, collection_id=collection.id)
        services.ingest.wait_askable(document.id, PATIENCE_S)
        askable_s = time.monotonic() - began
        services.ingest.wait_idle(PATIENCE_S)
        total_s = time.monotonic() - began
        row = services.library.get(document.id, CONSOLE)
        services.close()
    spent_ms = sum(row.timings_ms.values())
    return {
        "document": path.name,
        "pages": row.pages_total,
        "chunks": row.chunks_total,
        "askable_s": round(askable_s, 1),
        "embedded_s": round(total_s, 1),
        "pages_per_s": round(row.pages_total / total_s, 2),
        "share": {step: round(duration_ms / spent_ms, 3) for step, duration_ms in row.timings_ms.items()},
    }


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:] or MANUALS):
        print(json.dumps(measure(file)), flush=True)
