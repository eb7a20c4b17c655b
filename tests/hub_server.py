"""A model hub on 127.0.0.1 that speaks the download protocols of Hugging Face and ModelScope.

Options are attributes that a test changes between requests: `content` what it serves, `drop_after` bytes after which
the next connections break off, `status` an error for every request, `stall_s` silence before each answer,
`ignore_range` to send all of the file whatever is asked.
"""

from __future__ import annotations

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class HubServer:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.drop_after: list[int] = []
        self.status = 200
        self.stall_s = 0.0
        self.ignore_range = False
        self.requests: list[tuple[str, str | None, str | None]] = []  # path, Range, Authorization
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub._answer(self)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def downloads(self) -> list[tuple[str, str | None, str | None]]:
        """The requests that were no probes."""
        return [request for request in self.requests if request[1] != "bytes=0-0"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked, handler.headers.get("Authorization")))
        time.sleep(self.stall_s)
        if self.status != 200 or not is_known(handler.path):
            handler.send_error(self.status if self.status != 200 else 404)
            return
        first, last = self._wanted(asked)
        body = self.content[first : last + 1]
        partial = asked and not self.ignore_range
        handler.send_response(206 if partial else 200)
        handler.send_header("Content-Length", str(len(body)))
        if partial:
            handler.send_header("Content-Range", f"bytes {first}-{last}/{len(self.content)}")
        handler.end_headers()
        if asked != "bytes=0-0" and self.drop_after:
            handler.wfile.write(body[: self.drop_after.pop(0)])
            return
        handler.wfile.write(body)

    def _wanted(self, asked: str | None) -> tuple[int, int]:
        end = len(self.content) - 1
        if not asked or self.ignore_range:
            return 0, end
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
        return int(first), min(int(last), end) if last else end


def is_known(path: str) -> bool:
    """ModelScope: /api/v1/models/REPO/repo?Revision=R&FilePath=F; Hugging Face: /REPO/resolve/R/F."""
    parts = urlsplit(path)
    if parts.path == "/api/v1/models/owner/model/repo":
        return parse_qs(parts.query) == {"Revision": ["master"], "FilePath": ["model.gguf"]}
    return parts.path == "/owner/model/resolve/main/model.gguf"
