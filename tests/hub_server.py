"""A model hub on 127.0.0.1 that speaks the protocols of Hugging Face and ModelScope, for one repository.

Hugging Face: /api/models/REPO/revision/R, /api/models/REPO/tree/COMMIT (in pages, with Link), /REPO/resolve/R/FILE with
X-Repo-Commit and ETag; large files (LFS) are redirected to a CDN at another host with X-Linked-Etag and X-Linked-Size.
ModelScope: /api/v1/models/REPO/repo/files, /api/v1/models/REPO/repo?Revision=R&FilePath=F.

Options are attributes that a test changes between requests: `served` other bytes than the list promises, `drop_after`
bytes after which the next connections break off, `status` an error for every request and `failures` for the next ones,
`stall_s` silence before each answer, `slow_s` between blocks, `ignore_range` to send all of a file whatever is asked,
`token` and `accepted` for a gated repository.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COMMIT = "c0ffee" + "0" * 34
LFS = (".safetensors", ".gguf", ".bin", "tokenizer.json")
BLOCK = 64 * 1024


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that goes away is part of many tests."""


class HubServer:
    def __init__(self, files: dict[str, bytes] | bytes, repo: str = "owner/model") -> None:
        self.files = files if isinstance(files, dict) else {"model.gguf": files}
        self.repo = repo
        self.commit = COMMIT
        self.revisions = {"main", "master", COMMIT}
        self.about: dict = {}
        self.extra_entries: list[dict] = []  # of Hugging Face's tree, as they are
        self.page_size = 1000
        self.next_at = ""  # another address in the link to the next page
        self.cdn = False
        self.served: dict[str, bytes] = {}
        self.drop_after: list[int] = []
        self.status = 200
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.stall_s = self.slow_s = 0.0
        self.ignore_range = False
        self.token = ""
        self.accepted = True
        self.requests: list[tuple[str, str | None, str | None]] = []  # path, Range, Authorization
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub._answer(self)

            def do_HEAD(self) -> None:
                hub._answer(self)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def downloads(self) -> list[tuple[str, str | None, str | None]]:
        """The requests for files that were no probes."""
        wanted = ("/resolve/", "/repo?", "/cdn/")
        return [r for r in self.requests if r[1] != "bytes=0-0" and any(part in r[0] for part in wanted)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked, token = handler.headers.get("Range"), handler.headers.get("Authorization")
        self.requests.append((handler.path, asked, token))
        time.sleep(self.stall_s)
        probe = asked == "bytes=0-0"
        if self.status != 200:
            return _error(handler, self.status)
        if self.failures and not probe:
            return _error(handler, *self.failures.pop(0))
        parts = urlsplit(handler.path)
        if parts.path.startswith("/cdn/"):
            return self._send(handler, parts.path.removeprefix("/cdn/"), {})
        if parts.path.startswith(f"/api/v1/models/{self.repo}"):
            return self._modelscope(handler, parts.path, parse_qs(parts.query))
        return self._huggingface(handler, parts.path, parse_qs(parts.query))

    # Hugging Face

    def _huggingface(self, handler: BaseHTTPRequestHandler, path: str, query: dict) -> None:
        api, resolve = f"/api/models/{self.repo}", f"/{self.repo}/resolve/"
        if path == api or path.startswith(f"{api}/revision/"):
            return self._huggingface_about(handler, path.removeprefix(api).removeprefix("/revision/"))
        if path.startswith(f"{api}/tree/"):
            return self._huggingface_tree(handler, path.removeprefix(f"{api}/tree/"), query)
        if not path.startswith(resolve):
            return _error(handler, 401, {"X-Error-Code": "RepoNotFound"})
        revision, _, name = path.removeprefix(resolve).partition("/")
        if not self._may_read(handler):
            return None
        if revision not in self.revisions:
            return _error(handler, 404, {"X-Error-Code": "RevisionNotFound"})
        if name not in self.files:
            return _error(handler, 404, {"X-Error-Code": "EntryNotFound"})
        content = self.files[name]
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{git_sha1(content)}"'}
        if self.cdn and name.endswith(LFS):
            headers |= {"X-Linked-Etag": f'"{sha256(content)}"', "X-Linked-Size": str(len(content))}
            elsewhere = self.url.replace("127.0.0.1", "localhost")
            return _send(handler, 302, b"", headers | {"Location": f"{elsewhere}/cdn/{name}?signature=x"})
        return self._send(handler, name, headers)

    def _may_read(self, handler: BaseHTTPRequestHandler) -> bool:
        """Of a gated repository anybody sees the list, and only who has accepted the terms the files."""
        gated = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."}
        if self.token and handler.headers.get("Authorization") != f"Bearer {self.token}":
            _error(handler, 401, gated)
            return False
        if not self.accepted:
            _error(handler, 403, gated)
            return False
        return True

    def _huggingface_about(self, handler: BaseHTTPRequestHandler, revision: str) -> None:
        if revision and revision not in self.revisions:
            return _error(handler, 404, {"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": name} for name in self.files]
        return _send_json(handler, {"id": self.repo, "sha": self.commit, "siblings": siblings, **self.about})

    def _huggingface_tree(self, handler: BaseHTTPRequestHandler, revision: str, query: dict) -> None:
        if revision not in self.revisions:
            return _error(handler, 404, {"X-Error-Code": "RevisionNotFound"})
        folders = {name.rpartition("/")[0] for name in self.files if "/" in name}
        entries = [{"type": "directory", "path": folder, "size": 0, "oid": "0" * 40} for folder in folders]
        entries += [_tree_entry(name, content) for name, content in self.files.items()] + self.extra_entries
        first = int(query.get("cursor", ["0"])[0])
        after = first + self.page_size
        following = f"{self.next_at or self.url}/api/models/{self.repo}/tree/{revision}?recursive=true&cursor={after}"
        return _send_json(
            handler, entries[first:after], {"Link": f'<{following}>; rel="next"'} if after < len(entries) else {}
        )

    # ModelScope

    def _modelscope(self, handler: BaseHTTPRequestHandler, path: str, query: dict) -> None:
        rest = path.removeprefix(f"/api/v1/models/{self.repo}")
        if rest == "":
            return _send_json(handler, {"Code": 200, "Success": True, "Data": {"Name": self.repo}})
        if query.get("Revision", [""])[0] not in self.revisions:
            return _error(handler, 404)
        if rest == "/repo/files":
            files = [_scope_entry(name, content) for name, content in self.files.items()]
            return _send_json(handler, {"Code": 200, "Success": True, "Data": {"Files": files}})
        name = query.get("FilePath", [""])[0]
        return self._send(handler, name, {}) if name in self.files else _error(handler, 404)

    # Files

    def _send(self, handler: BaseHTTPRequestHandler, name: str, headers: dict[str, str]) -> None:
        content = self.served.get(name, self.files[name])
        asked = handler.headers.get("Range")
        first, last = self._wanted(asked, len(content) - 1)
        if first > last:
            return _error(handler, 416)
        body, partial = content[first : last + 1], asked and not self.ignore_range
        handler.send_response(206 if partial else 200)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(key, value)
        if partial:
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        handler.end_headers()
        if handler.command == "HEAD":
            return None
        if asked != "bytes=0-0" and self.drop_after:
            body = body[: self.drop_after.pop(0)]
        for at in range(0, len(body), BLOCK):
            handler.wfile.write(body[at : at + BLOCK])
            time.sleep(self.slow_s)
        return None

    def _wanted(self, asked: str | None, end: int) -> tuple[int, int]:
        if not asked or self.ignore_range:
            return 0, max(end, 0)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
        return int(first), min(int(last), end) if last else end


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _tree_entry(name: str, content: bytes) -> dict:
    entry = {"type": "file", "path": name, "size": len(content), "oid": git_sha1(content)}
    if name.endswith(LFS):
        entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 134}
    return entry


def _scope_entry(name: str, content: bytes) -> dict:
    return {
        "Name": name.rpartition("/")[2],
        "Path": name,
        "Type": "blob",
        "Size": len(content),
        "Sha256": sha256(content),
        "IsLFS": name.endswith(LFS),
        "Revision": COMMIT,
    }


def _send_json(handler: BaseHTTPRequestHandler, data: object, headers: dict[str, str] | None = None) -> None:
    _send(handler, 200, json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})})


def _error(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None) -> None:
    _send(handler, status, b'{"error": "no"}', headers or {})


def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for key, value in {**headers, "Content-Length": str(len(body))}.items():
        handler.send_header(key, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)
