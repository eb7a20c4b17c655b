"""The guard at the door of the application: no session, no screen, no file, no socket.

Pages and services check again; this is what keeps uploads, page images and open sockets, which no page guards.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.visitor import Visitor, visitor_of

OPEN_BELOW = ("/auth/", "/operator/", "/static/")
OPEN = {"/healthz", "/oauth2callback", "/favicon.png", "/_stcore/health", "/_stcore/host-config"}
SIGN_IN = "/auth/sign-in"
POLICY_VIOLATION = 1008  # WebSocket close code
# A link from another site comes without our SameSite=Strict cookie. Loading the page once more, from itself, sends it.
AGAIN = '<!doctype html><meta http-equiv="refresh" content="0"><title>…</title>'
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, identify: Callable[[Visitor], bool]) -> None:
        """identify: whether the visitor has a session; visitor.active says whether a person did something."""
        self._app = app
        self._identify = identify

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, _with_headers(send))
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        visitor = visitor_of(HTTPConnection(scope))
        if path in OPEN or path.startswith(OPEN_BELOW) or await run_in_threadpool(self._identify, visitor):
            await self._app(scope, receive, send)
        else:
            await _refusal(scope, visitor)(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Looks again at every message: a session that ended takes its open page along."""
        visitor = visitor_of(HTTPConnection(scope))
        if not await run_in_threadpool(self._identify, visitor):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return

        async def guarded_receive() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            acting = visitor.acting(a_person_acts(message.get("bytes") or b""))
            if await run_in_threadpool(self._identify, acting):
                return message
            await send({"type": "websocket.send", "bytes": go_to(f"{SIGN_IN}?ended=1")})
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}

        await self._app(scope, guarded_receive, send)


def a_person_acts(message: bytes) -> bool:
    """Whether somebody did something, or Streamlit's browser part sent this by its own clock."""
    from google.protobuf.message import DecodeError
    from streamlit.proto.BackMsg_pb2 import BackMsg

    try:
        sent = BackMsg.FromString(message)
    except DecodeError:
        return False
    return sent.WhichOneof("type") == "rerun_script" and not sent.rerun_script.is_auto_rerun


def go_to(url: str) -> bytes:
    """Streamlit's message that makes the browser open another address in the same tab."""
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    forward = ForwardMsg()
    forward.auth_redirect.url = url
    return forward.SerializeToString()


def _refusal(scope: Scope, visitor: Visitor) -> Response:
    wants_page = scope["method"] in ("GET", "HEAD") and "text/html" in visitor.accept
    if not wants_page:
        return PlainTextResponse("Sign in first.", status_code=401)
    if visitor.from_another_site and not visitor.has_cookie:
        return HTMLResponse(AGAIN, headers={"Cache-Control": "no-store"})
    path = quote(scope["path"]) + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
    return RedirectResponse(f"{SIGN_IN}?next={quote(path, safe='')}", status_code=303)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
