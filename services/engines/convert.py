"""GGUF to safetensors, once per model, in a child process (only the child imports torch).

vLLM serves safetensors. Qwen2.5-Coder-0.5B takes about a minute and 3 GB of memory on 2 cores.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path

from services.engines import manifest
from services.engines.entries import CatalogueEntry, Variant
from services.engines.sources.files import Progress, require_space, sha256_of
from services.engines.sources.patience import patient
from services.errors import ConversionFailed
from services.translation import N_

PROJECT = Path(__file__).resolve().parents[2]
BYTES_PER_PARAMETER = 2.6  # bfloat16, an output layer of its own, tokenizer
LAST_LINES = 20


def convert(
    entry: CatalogueEntry, variant: Variant, gguf: Path, folder: Path, progress: Progress, *, reserve_mib: int = 0
) -> None:
    """Make folder from the verified file gguf: all of it or nothing. What was in folder before is replaced.

    Progress counts per cent, is called at least every half second, and ends the child by raising. Raises
    ConversionFailed with the child's last lines in params["log"], StorageFull.
    """
    draft = folder.with_name(f".{folder.name}.converting")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        require_space(draft, room_bytes(entry), reserve_mib)
        report = _run_child(gguf, draft, progress)
        _write_manifest(entry, variant, draft, report, progress)
        manifest.install(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def room_bytes(entry: CatalogueEntry) -> int:
    """What the converted model takes on the disk, at the most."""
    return int(entry.parameters * BYTES_PER_PARAMETER)


def _run_child(gguf: Path, draft: Path, progress: Progress) -> dict:
    """The child's last line of JSON: what it did. Its other lines are {"percent": n}."""
    command = [sys.executable, "-m", "services.engines.convert_child", str(gguf.resolve()), str(draft.resolve())]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    report: dict = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=PROJECT,
            env=environment,
            text=True,
        )
        try:
            report = _follow(child, progress)
            child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode or not report:
            log.seek(0)
            raise _failed(child.returncode, list(deque(log, maxlen=LAST_LINES)))
    return report


def _follow(child: subprocess.Popen, progress: Progress) -> dict:
    """Tell its per cent until it closes its output; returns its report, {} when it ended without one."""
    told = {"percent": 0}

    def beat() -> None:
        progress(N_("Converting"), told["percent"], 100)

    report: dict = {}
    for line in patient(child.stdout, beat):
        message = json.loads(line)
        if "percent" in message:
            told = message
            beat()
        else:
            report = message
    return report


def _write_manifest(entry: CatalogueEntry, variant: Variant, draft: Path, report: dict, progress: Progress) -> None:
    """Size and SHA-256 of every file."""
    files = {}
    for path in sorted(draft.iterdir()):
        files[path.name] = {"size": path.stat().st_size, "sha256": sha256_of(path, progress, N_("Verifying"))}
    pinned = variant.files[0]
    origin = {"id": entry.id, "variant": variant.id, "source": pinned.name, "source_sha256": pinned.sha256}
    manifest.write(draft, {**origin, **report}, files)


def _failed(returncode: int, log: list[str]) -> ConversionFailed:
    text = "".join(log).strip()
    if returncode == -9:
        hint = N_(
            "The system ended the conversion, most likely for want of memory: about 3 GB are needed. Close something."
        )
    else:
        hint = N_("Try again; if it fails in the same way, report the lines below.\n{log}")
    last = text.splitlines()[-1] if text else f"exit {returncode}"
    return ConversionFailed(N_("The model could not be converted: {reason}"), hint=hint, reason=last, log=text)
