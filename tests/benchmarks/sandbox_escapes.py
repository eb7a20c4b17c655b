"""Every escape in every language and isolation: how it ended, seconds, peak memory; and what isolation costs.

.venv/bin/python -m tests.benchmarks.sandbox_escapes
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from services.sandbox.box import Sandbox
from services.sandbox.isolation import ISOLATIONS
from services.sandbox.jobs import Language
from services.settings import Settings
from tests.escape_programs import CASES, Escape

ROUNDS = 5
PLACES = {"secret": "/etc/shadow", "folder": "/work", "port": 22, "abstract": "zhiku"}
TRIVIAL = Escape("trivial", "print(1)", "console.log(1)", "System.out.println(1);")


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        boxes = {name: Sandbox(Settings(home=Path(home)), [name]) for name in ISOLATIONS}
        print("| escape | language | isolation | contained | ended | s | peak MiB |\n|---|---|---|---|---|---|---|")
        for escape, language in CASES:
            for name, box in boxes.items():
                done = box.run(escape.program(language, **PLACES), wanted=escape.wanted)
                contained = "ESCAPED" not in done.output and not done.left and done.ended in escape.ended
                how = f"{done.ended} {'' if done.exit_status is None else done.exit_status}".strip()
                row = (escape.name, language, name, contained, how, f"{done.wall_s:.2f}", f"{done.memory_mib:.0f}")
                print("|", " | ".join(map(str, row)), "|")
        print("\n| trivial program | isolation | ms, all in all | of it inside |\n|---|---|---|---|")
        for language in Language:
            for name, box in boxes.items():
                print("|", " | ".join((language, name, *_overhead(box, language))), "|")


def _overhead(box: Sandbox, language: Language) -> tuple[str, str]:
    whole, inside = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        inside.append(box.run(TRIVIAL.program(language)).wall_s)
        whole.append(time.perf_counter() - started)
    return f"{1000 * statistics.median(whole):.0f}", f"{1000 * statistics.median(inside):.0f}"


if __name__ == "__main__":
    main()
