"""Model hubs over plain HTTP: is one reachable, and the resumable download of one file.

huggingface_hub gives the address and the headers; its own downloader is not used because it starts again from zero
after an interruption (2.4 writes to a new temporary file each time).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import httpx

from services.engines.catalogue import Hubs, HubSource, ModelFile
from services.engines.sources.files import Progress, another_file
from services.errors import FetchFailed
from services.settings import Settings
from services.translation import N_

STALL_TIMEOUT_S = 30
TRIES_WITHOUT_PROGRESS = 3
PAUSE_S = 1.0


@dataclass(frozen=True)
class Address:
    """Where a hub serves a file."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)


def address(source: HubSource, settings: Settings, hubs: Hubs) -> Address:
    if source.kind == "modelscope":
        endpoint = settings.modelscope_endpoint or hubs.modelscope
        query = f"Revision={quote(source.revision)}&FilePath={quote(source.file)}"
        return Address(f"{endpoint.rstrip('/')}/api/v1/models/{source.repo}/repo?{query}")
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    endpoint = settings.hf_endpoint.rstrip("/") or None
    url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint)
    return Address(url, build_hf_headers(token=settings.hf_token or False))


def reachable(addresses: list[Address], timeout_s: float) -> list[bool]:
    """Which addresses answer with their file within timeout_s, asked all at once.

    Threads, because the time-outs of a connection do not count the look-up of its name.
    """
    answers = [threading.Event() for _ in addresses]
    for each, answer in zip(addresses, answers, strict=True):
        threading.Thread(target=_probe, args=(each, timeout_s, answer), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    return [answer.wait(max(0.0, deadline - time.monotonic())) for answer in answers]


def _probe(address: Address, timeout_s: float, answer: threading.Event) -> None:
    try:
        request = {"headers": {**address.headers, "Range": "bytes=0-0"}, "timeout": timeout_s}
        with httpx.stream("GET", address.url, follow_redirects=True, **request) as response:
            if response.is_success:
                answer.set()
    except (httpx.HTTPError, httpx.InvalidURL):
        return


def download(address: Address, file: ModelFile, part: Path, progress: Progress) -> None:
    """Complete the file part, from where it stops. Its hash is not looked at here.

    Raises FetchFailed when the hub refuses, or after TRIES_WITHOUT_PROGRESS connections that brought nothing;
    VerificationFailed when the file there has another size.
    """
    idle = 0
    while (had := _size(part)) != file.size:
        reason = _continue(address, file, part, progress)
        idle = 0 if _size(part) > had else idle + 1
        if idle == TRIES_WITHOUT_PROGRESS:
            raise FetchFailed(N_("The download stopped: {reason}."), hint=N_("Check the network."), reason=reason)
        if idle:
            time.sleep(PAUSE_S)


def _continue(address: Address, file: ModelFile, part: Path, progress: Progress) -> str:
    """One connection, until the file is complete or the connection ends. Returns why it ended."""
    had = _size(part)
    headers = {**address.headers, "Accept-Encoding": "identity"}
    if had:
        headers["Range"] = f"bytes={had}-"
    try:
        with httpx.stream(
            "GET", address.url, headers=headers, timeout=STALL_TIMEOUT_S, follow_redirects=True
        ) as response:
            response.raise_for_status()
            done = had if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
            if done + int(response.headers.get("Content-Length", file.size - done)) != file.size:
                raise another_file(file)
            with part.open("ab" if done else "wb") as target:
                for block in response.iter_raw():
                    target.write(block)
                    done += len(block)
                    progress(N_("Downloading"), done, file.size)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise FetchFailed(N_("The hub refuses the file: HTTP {status}."), status=status) from error
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return "the connection ended early"


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
