"""The real ASGI application under uvicorn in a thread of the tests: its services and its clock are within reach.

Only what is slow is left out: samples, the embedder, and the work of argon2 (whose calls are counted).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
import uvicorn
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import server
from pages.components import context
from services import bootstrap
from services.accounts.accounts import Accounts
from services.permissions import CONSOLE, Actor, Role
from services.settings import Settings
from tests.documents_setup import FakeEmbedder
from tests.fakes import PASSWORD, FakeClock, QuickPasswords
from tests.portal_process import free_port, wait_until
from tests.signing_in import browser, sign_in

SESSION_COOKIE = "zhiku_session"
SOON_S = 30  # for what happens at once, on a busy machine


@dataclass
class ThreadedPortal:
    url: str
    app: object
    services: bootstrap.Services
    clock: FakeClock
    passwords: QuickPasswords

    def person(self, name: str, *roles: Role) -> Actor:
        """Somebody new with PASSWORD."""
        person_id, token = self.services.people.invite(CONSOLE, name, roles or [Role.USER])
        self.services.accounts.use_link(token, PASSWORD)
        return Actor(id=person_id, name=name, roles=frozenset(roles or [Role.USER]))

    def signed_in(self, name: str) -> httpx.Client:
        client = browser(self.url)
        answer = sign_in(client, name, PASSWORD)
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        return client

    def status(self, client: httpx.Client, path: str = "/") -> int:
        """What a file or an upload would be answered with: 401 without a session."""
        return client.get(path, headers={"Accept": "*/*"}).status_code

    def socket(self, client: httpx.Client | None = None) -> ClientConnection:
        return page_socket(self.url, client)


def page_socket(url: str, client: httpx.Client | None = None) -> ClientConnection:
    """A page's websocket with the client's cookies. Raises InvalidStatus where the handshake is refused.

    Streamlit's part of the browser sends the token of a cookie that it got before; without, nobody is logged in.
    """
    headers, subprotocols = {}, ["streamlit"]
    if client is not None:
        client.get("/_stcore/health")
        subprotocols += [token for name, token in client.cookies.items() if name == "_streamlit_xsrf"]
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    return connect(address, subprotocols=subprotocols, additional_headers=headers, origin=url, max_size=None)


def rerun(*, auto: bool = False, page: str = "", button: str = "") -> bytes:
    """What the browser sends when somebody clicked, or (auto) when a fragment's time has come. button: its id."""
    message = BackMsg()
    message.rerun_script.page_name = page
    message.rerun_script.is_auto_rerun = auto
    if button:
        message.rerun_script.widget_states.widgets.add(id=button, trigger_value=True)
    return message.SerializeToString()


def button_id(messages: list[ForwardMsg], label: str) -> str:
    """Of the button with that label among what was drawn."""
    drawn = [message.delta.new_element.button for message in messages if message.WhichOneof("type") == "delta"]
    return next(button.id for button in drawn if button.label == label)


def words(messages: list[ForwardMsg]) -> str:
    """Everything that was sent to the page, as text."""
    return "\n".join(map(str, messages))


def received(socket: ClientConnection, until: str) -> list[ForwardMsg]:
    """Messages up to the first of that type, or to the end of the connection."""
    messages: list[ForwardMsg] = []
    while not messages or messages[-1].WhichOneof("type") != until:
        try:
            messages.append(ForwardMsg.FromString(socket.recv(timeout=SOON_S)))
        except ConnectionClosed:
            break
    return messages


@contextmanager
def portal_in_thread(settings: Settings, empty: Path) -> Iterator[ThreadedPortal]:
    """settings.port is overridden; empty: a folder without samples."""
    settings = settings.model_copy(update={"port": free_port(), "engine_autostart": False})
    clock, passwords = FakeClock(), QuickPasswords()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "Accounts", partial(Accounts, clock=clock, passwords=passwords))
        patch.setattr(bootstrap, "make_embedder", lambda _settings: FakeEmbedder())
        patch.setattr(bootstrap, "SAMPLES", empty)
        app = server.make_app(server.Portal(settings))
        config = uvicorn.Config(
            app,
            port=settings.port,
            log_config=None,
            proxy_headers=False,
            ws="websockets-sansio",
            timeout_graceful_shutdown=1,
        )
        running = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(running.serve()), daemon=True)
        thread.start()
        wait_until(lambda: running.started or not thread.is_alive(), 120, "the portal did not start")
        url = f"http://127.0.0.1:{settings.port}"
        try:
            yield ThreadedPortal(url, app, context.services(), clock, passwords)
        finally:
            running.should_exit = True
            thread.join(60)
            context.use(None)
