"""Seconds from the start of the process to the first page, and the resident memory of the idle portal.

The state folder holds the embedded samples; the engine is not started (its memory is its own).

    .venv/bin/python -m tests.benchmarks.portal_start
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.portal_process import PortalProcess, wait_until

RUNS = 5
SETTLE_S = 20  # warm-up imports and the first page's are over by then


def measure() -> dict:
    with tempfile.TemporaryDirectory() as home:
        portal = PortalProcess(Path(home), PORTAL_ENGINE_AUTOSTART="false")
        portal.start()
        wait_until(lambda: portal.cli("documents", "status")["ready"] >= 4, 600, "the samples were not embedded")
        portal.stop()
        starts = []
        for _ in range(RUNS):
            starts.append(portal.start())
            time.sleep(SETTLE_S)
            memory_mib = psutil.Process(portal.process.pid).memory_info().rss / 2**20
            portal.stop()
    return {
        "start_to_first_page_s": {"median": round(statistics.median(starts), 2), "max": round(max(starts), 2)},
        "resident_idle_mib": round(memory_mib),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
