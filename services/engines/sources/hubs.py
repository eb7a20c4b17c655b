"""Model hubs over plain HTTP: is one reachable, and the resumable download of one file.

huggingface_hub gives the address and the headers; its own downloader is not used because it starts again from zero
after an interruption (2.4 writes to a new temporary file each time), and cannot be paused.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx

from services.engines.catalogue import Hubs
from services.engines.entries import HubSource
from services.engines.sources import http
from services.engines.sources.files import Progress, another_file
from services.engines.sources.http import Address, Passing, read_range
from services.settings import Settings
from services.translation import N_

__all__ = ["Address", "Hub", "download", "reachable", "read_range"]

POLL_S = 0.25


class Hub:
    """Addresses of one hub. kind: huggingface or modelscope."""

    def __init__(self, kind: str, settings: Settings, hubs: Hubs) -> None:
        self.kind = kind
        if kind == "modelscope":
            self.endpoint = (settings.modelscope_endpoint or hubs.modelscope).rstrip("/")
            self._headers: dict[str, str] = {}
        else:
            from huggingface_hub import constants
            from huggingface_hub.utils import build_hf_headers

            self.endpoint = (settings.hf_endpoint or constants.ENDPOINT).rstrip("/")
            self._headers = build_hf_headers(token=settings.hf_token or False)

    def file(self, repo: str, revision: str, name: str) -> Address:
        if self.kind == "modelscope":
            query = f"Revision={quote(revision, safe='')}&FilePath={quote(name, safe='')}"
            return self.address(f"/api/v1/models/{repo}/repo?{query}", repo)
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(repo, name, revision=revision, endpoint=self.endpoint)
        return self.address(url.removeprefix(self.endpoint), repo)

    def address(self, path: str, repo: str) -> Address:
        page = f"{self.endpoint}/{'models/' if self.kind == 'modelscope' else ''}{repo}"
        setting = "PORTAL_HF_TOKEN" if self.kind == "huggingface" else ""
        return Address(f"{self.endpoint}{path}", self._headers, what=repo, page=page, token_setting=setting)

    def probe(self, source: HubSource) -> Address:
        """What is asked for to find out whether the hub can be reached at all."""
        if source.file:
            return self.file(source.repo, source.revision, source.file)
        api = f"/api/v1/models/{source.repo}" if self.kind == "modelscope" else f"/api/models/{source.repo}"
        return self.address(api, source.repo)


def reachable(addresses: list[Address], timeout_s: float, beat: Callable[[], object] = lambda: None) -> list[bool]:
    """Which addresses answer within timeout_s, be it with a refusal; asked all at once.

    Threads, because the time-outs of a connection do not count the look-up of its name.
    """
    answers = [threading.Event() for _ in addresses]
    for each, answer in zip(addresses, answers, strict=True):
        threading.Thread(target=_probe, args=(each, timeout_s, answer), daemon=True).start()
    deadline = time.monotonic() + timeout_s
    for answer in answers:
        while not answer.wait(max(0.0, min(POLL_S, deadline - time.monotonic()))) and time.monotonic() < deadline:
            beat()
    return [answer.is_set() for answer in answers]


def _probe(address: Address, timeout_s: float, answer: threading.Event) -> None:
    try:
        request = {"headers": {**address.headers, "Range": "bytes=0-0"}, "timeout": timeout_s}
        with httpx.stream("GET", address.url, follow_redirects=True, **request):
            answer.set()
    except (httpx.HTTPError, httpx.InvalidURL):
        return


def download(address: Address, name: str, size: int, part: Path, progress: Progress) -> None:
    """Complete the file part, from where it stops, to size bytes. Its hash is not looked at here.

    Raises FetchFailed and GatedModel when the hub refuses, FetchFailed after http.TRIES connections that brought
    nothing, VerificationFailed when the file there has another size; and what progress raises.
    """
    idle = 0
    while (had := size_of(part)) != size:
        passing = _continue(address, name, size, part, progress)
        idle = 0 if size_of(part) > had else idle + 1
        if idle == http.TRIES:
            raise http.stopped(str(passing))
        if idle:
            http.pause(http.wait_s(passing, idle), lambda: progress(N_("Downloading"), size_of(part), size))


def _continue(address: Address, name: str, size: int, part: Path, progress: Progress) -> Passing:
    """One connection, until the file is complete or the connection ends. Returns why it ended."""
    done = size_of(part)
    if done > size:
        part.unlink()
        done = 0

    def beat() -> None:
        progress(N_("Downloading"), size_of(part), size)

    try:
        with part.open("ab") as target:
            for offset, whole, block in http.blocks(address, done, beat):
                if whole not in (-1, size):
                    raise another_file(name)
                if not block:
                    os.truncate(part, offset)
                    continue
                if offset + len(block) > size:
                    raise another_file(name)
                target.write(block)
                target.flush()
                progress(N_("Downloading"), offset + len(block), size)
    except Passing as passing:
        return passing
    return Passing("the connection ended early")


def size_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
