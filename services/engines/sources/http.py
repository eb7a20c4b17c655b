"""Reading from hubs over HTTP: how often one tries again, what a refusal means, and reads that can be stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from services.engines.sources.patience import patient, patiently, pause
from services.errors import FetchFailed, GatedModel
from services.translation import N_

STALL_TIMEOUT_S = 30
TRIES = 3  # connections that bring nothing, one after another
PAUSE_S = 1.0  # before the second try; doubles
RETRY_AFTER_MAX_S = 60  # a hub that asks for more patience is told of instead
ANSWER_MAX = 64 * 1024**2  # bytes of a JSON answer


@dataclass(frozen=True)
class Address:
    """Where a hub serves something. what: a repository, for messages; page: where a person finds it.

    token_setting: the setting that takes a token for this hub; "": there is none.
    """

    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    what: str = ""
    page: str = ""
    token_setting: str = ""


class Passing(Exception):
    """A failure that may be over when one tries again; wait_s: the hub's own word on when, or None."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def get_json(address: Address, beat: Callable[[], object]) -> tuple[object, httpx.Headers, dict]:
    """(the answer, its headers, its links). Raises FetchFailed, GatedModel."""
    return again(lambda: patiently(lambda: _json(address), beat), beat)


def read_range(address: Address, start: int, length: int) -> bytes:
    """Bytes of a remote file; fewer when it ends before. Raises FetchFailed, GatedModel."""
    return again(lambda: _range(address, start, length), lambda: None)


def again(call: Callable, beat: Callable[[], object]):
    """What the call returns, tried up to TRIES times while it raises Passing."""
    for tried in range(1, TRIES + 1):
        try:
            return call()
        except Passing as passing:
            if tried == TRIES:
                raise stopped(str(passing)) from passing
            pause(wait_s(passing, tried), beat)
    raise AssertionError("unreachable")


def wait_s(passing: Passing, tried: int) -> float:
    """Raises FetchFailed when the hub wants to be left alone for longer than one waits."""
    if passing.wait_s is None:
        return PAUSE_S * 2 ** (tried - 1)
    if passing.wait_s > RETRY_AFTER_MAX_S:
        raise FetchFailed(
            N_("The hub is busy and asks to be left alone for {seconds} s."),
            hint=N_("Try again then: the download goes on from where it stopped."),
            seconds=round(passing.wait_s),
        ) from passing
    return passing.wait_s


def blocks(address: Address, first: int, beat: Callable[[], object]) -> Iterator[tuple[int, int, bytes]]:
    """(offset of the block, size of the whole file or -1, block), from byte first, or from 0 where a hub cannot.

    An empty block comes first. Raises Passing, FetchFailed, GatedModel, and what beat raises.
    """
    yield from patient(_blocks(address, first), beat)


def stopped(reason: str) -> FetchFailed:
    return FetchFailed(N_("The download stopped: {reason}."), hint=N_("Check the network."), reason=reason)


def _blocks(address: Address, first: int) -> Iterator[tuple[int, int, bytes]]:
    headers = {**address.headers, "Accept-Encoding": "identity"}
    if first:
        headers["Range"] = f"bytes={first}-"
    try:
        with httpx.stream(
            "GET", address.url, headers=headers, timeout=STALL_TIMEOUT_S, follow_redirects=True
        ) as response:
            if first and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                yield 0, -1, b""
                return
            _require_success(response, address)
            at = first if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
            rest = response.headers.get("Content-Length", "")
            yield at, at + int(rest) if rest.isdecimal() else -1, b""
            for block in response.iter_raw():
                yield at, -1, block
                at += len(block)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Passing(str(error) or type(error).__name__) from error


def _json(address: Address) -> tuple[object, httpx.Headers, dict]:
    try:
        with httpx.stream(
            "GET", address.url, headers=address.headers, timeout=STALL_TIMEOUT_S, follow_redirects=True
        ) as response:
            _require_success(response, address)
            body = b"".join(_up_to(response, ANSWER_MAX))
            return json.loads(body), response.headers, response.links
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Passing(str(error) or type(error).__name__) from error
    except (ValueError, RecursionError) as error:
        raise FetchFailed(
            N_("The hub's answer about {what} is not understood."),
            hint=N_("Check the hub's address: something else seems to answer there."),
            what=address.what,
        ) from error


def _range(address: Address, start: int, length: int) -> bytes:
    headers = {**address.headers, "Accept-Encoding": "identity", "Range": f"bytes={start}-{start + length - 1}"}
    try:
        with httpx.stream(
            "GET", address.url, headers=headers, timeout=STALL_TIMEOUT_S, follow_redirects=True
        ) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            _require_success(response, address)
            skip = 0 if response.status_code == httpx.codes.PARTIAL_CONTENT else start
            return b"".join(_up_to(response, skip + length))[skip : skip + length]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Passing(str(error) or type(error).__name__) from error


def _up_to(response: httpx.Response, limit: int) -> Iterator[bytes]:
    """The body, and no more of it than the block in which the limit is reached."""
    got = 0
    for block in response.iter_bytes():
        yield block
        got += len(block)
        if got >= limit:
            return


def _require_success(response: httpx.Response, address: Address) -> None:
    """Raises Passing when it may be better the next time, else what the refusal means."""
    status = response.status_code
    if response.is_success:
        return
    if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT) or status >= 500:
        after = response.headers.get("Retry-After", "")
        raise Passing(f"HTTP {status}", float(after) if after.isdecimal() else None)
    code = response.headers.get("X-Error-Code", "")
    if status in (401, 403) and code != "RepoNotFound":
        raise _gated(status, address)
    if status == 404 or code == "RepoNotFound":
        raise missing(address, status)
    raise FetchFailed(N_("The hub refuses the file: HTTP {status}."), status=status)


def missing(address: Address, status: int) -> FetchFailed:
    return FetchFailed(
        N_("The hub has no {what}, or does not show it to everybody (HTTP {status})."),
        hint=N_("Check its name and revision; a private one needs a token."),
        what=address.what,
        status=status,
    )


def _gated(status: int, address: Address) -> GatedModel:
    if status == 401 and "authorization" in {name.lower() for name in address.headers}:
        return GatedModel(
            N_("The hub does not accept the token."),
            hint=N_("It may have expired: make a new one that may read, and set it as {setting}."),
            setting=address.token_setting,
            status=status,
        )
    if address.token_setting:
        hint = N_("Open {page}, sign in, accept the terms, make a token that may read, and set it as {setting}.")
    else:
        hint = N_("Download it elsewhere after signing in at {page}, and add it as a folder.")
    return GatedModel(
        N_("{what} is given out only to those who accepted its terms (HTTP {status})."),
        hint=hint,
        what=address.what,
        page=address.page or address.url,
        setting=address.token_setting,
        status=status,
    )
