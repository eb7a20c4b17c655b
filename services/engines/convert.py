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

from services.engines.catalogue import CatalogueEntry
from services.engines.sources.files import Progress, require_space, sha256_of
from services.errors import ConversionFailed
from services.translation import N_

PROJECT = Path(__file__).resolve().parents[2]
MANIFEST = "manifest.json"
BYTES_PER_PARAMETER = 2.6  # bfloat16, an output layer of its own, tokenizer
LAST_LINES = 20


def convert(entry: CatalogueEntry, gguf: Path, folder: Path, progress: Progress) -> None:
    """Make folder from the verified file gguf: all of it or nothing. What was in folder before is replaced.

    Progress counts per cent. Raises ConversionFailed with the child's last lines in params["log"], StorageFull.
    """
    draft = folder.with_name(f".{folder.name}.converting")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        require_space(draft, int(entry.parameters * BYTES_PER_PARAMETER))
        report = _run_child(gguf, draft, progress)
        _write_manifest(entry, draft, report, progress)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


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
            for line in child.stdout:
                message = json.loads(line)
                if "percent" in message:
                    progress(N_("Converting"), message["percent"], 100)
                else:
                    report = message
            child.wait()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode or not report:
            log.seek(0)
            raise _failed(child.returncode, list(deque(log, maxlen=LAST_LINES)))
    return report


def _write_manifest(entry: CatalogueEntry, draft: Path, report: dict, progress: Progress) -> None:
    """Size and SHA-256 of every file. save_pretrained leaves 0600: an engine may run as somebody else."""
    files = {}
    for path in sorted(draft.iterdir()):
        path.chmod(0o644)
        files[path.name] = {"size": path.stat().st_size, "sha256": sha256_of(path, progress, N_("Verifying"))}
    manifest = {"id": entry.id, "source": entry.file.name, "source_sha256": entry.file.sha256, **report, "files": files}
    (draft / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


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
