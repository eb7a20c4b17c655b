"""The portal as one ASGI application: Streamlit's screens, and routes beside them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from streamlit import config

from pages.components import context, errors
from pages.components.identity import identify
from services.bootstrap import Services, build
from services.errors import PortalError
from services.operations import Operations
from services.ownership import OperatorDoor, Ownership
from services.settings import Settings
from services.translation import N_
from web.guard import Guard
from web.sign_in import SignInForms
from web.single_sign_on import streamlit_secrets
from web.visitor import Visitor

HOME_PAGE = Path(__file__).resolve().parent / "Home.py"
WEBSOCKET_MESSAGE_MAX_BYTES = 200 * 1024 * 1024  # Streamlit's own limit for a message

log = logging.getLogger(__name__)


class Portal:
    """What the routes share: the services while the application runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.services: Services | None = None
        self.door: OperatorDoor | None = None
        self.failure: PortalError | None = None  # why it could not start

    @asynccontextmanager
    async def lifespan(self, _app: st.App) -> AsyncIterator[None]:
        ownership = Ownership(self.settings.home)
        try:
            ownership.require()
            await run_in_threadpool(self._begin, ownership)
            yield
        except PortalError as error:
            self.failure = error
            logging.getLogger("uvicorn.error").disabled = True  # the console says it in words instead of a traceback
            raise
        finally:
            if self.services:
                await run_in_threadpool(self.services.close)
            ownership.release()

    def _begin(self, ownership: Ownership) -> None:
        self.services = build(self.settings)
        context.use(self.services, lambda: identify(self.services))
        self.door = ownership.open_door(f"http://{_loopback(self.settings.host)}:{self.settings.port}")
        self.services.start()
        self._announce()

    def admits(self, visitor: Visitor) -> bool:
        """Whether the visitor has a session. Whoever comes from single sign-on is let through to the page once, which
        looks at what the provider said and begins the session."""
        accounts, sso = self.services.accounts, self.services.sso
        if accounts.identify(visitor.token, address=visitor.address, active=visitor.active):
            return True
        if not (visitor.sso_cookie and sso.offered):
            return False
        token = sso.token(visitor.sso_cookie)
        if not accounts.sessions.known(token):
            return visitor.on_the_way_in
        return accounts.identify(token, address=visitor.address, active=visitor.active) is not None

    def _announce(self) -> None:
        """On an empty portal: how the first administrator gets in. On the console only."""
        if token := self.services.accounts.first_admin_link():
            address = self.settings.public_url.rstrip("/") or self.door.url
            print(f"First administrator (once, within {self.settings.link_hours} hours):", file=sys.stderr)
            print(f"  {address}/auth/link/{token}", file=sys.stderr, flush=True)

    async def healthz(self, _request: Request) -> JSONResponse:
        """200 while the portal answers; the state of the chat engine beside it."""
        status = self.services.deployments.status("chat")
        return JSONResponse({"portal": "ok", "chat_engine": status.state})

    async def operate(self, request: Request) -> JSONResponse:
        """Run one of cli.py's operations. 404 without the token: nobody learns that the door exists."""
        presented = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(presented.encode(), self.door.token.encode()):
            return JSONResponse({}, status_code=404)
        operations = Operations(self.services)
        try:
            result = await run_in_threadpool(operations.run, request.path_params["name"], await request.json())
        except PortalError as error:
            return JSONResponse(error.to_record(), status_code=409)
        return JSONResponse(result)


def make_app(portal: Portal) -> st.App:
    forms = SignInForms(lambda: portal.services)
    return st.App(
        HOME_PAGE,
        lifespan=portal.lifespan,
        on_script_error=errors.draw,
        secrets=streamlit_secrets(portal.settings) or None,
        middleware=[Middleware(Guard, identify=portal.admits)],
        routes=[
            *forms.routes(),
            Route("/healthz", portal.healthz),
            Route("/operator/{name}", portal.operate, methods=["POST"]),
        ],
    )


def serve(settings: Settings) -> None:
    """Run the portal until SIGINT or SIGTERM. Raises PortalError when it cannot start."""
    portal = Portal(settings)
    config.set_option("server.maxUploadSize", settings.upload_max_mib)
    logging.getLogger("uvicorn.access").disabled = True  # addresses hold one-time links
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # every socket that opens and closes
    server = uvicorn.Config(
        make_app(portal),
        host=settings.host,
        port=settings.port,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=WEBSOCKET_MESSAGE_MAX_BYTES,
        timeout_graceful_shutdown=5,
    )
    try:
        asyncio.run(uvicorn.Server(server).serve())
    except SystemExit:  # uvicorn's way to say that it could not start
        raise portal.failure or _cannot_listen(settings) from None


def _cannot_listen(settings: Settings) -> PortalError:
    return PortalError(
        N_("The portal cannot listen on {host}:{port}."),
        hint=N_("Another program may use this port: stop it, or set PORTAL_PORT."),
        host=settings.host,
        port=settings.port,
    )


def _loopback(host: str) -> str:
    """The address this machine reaches itself by when the portal listens on `host`."""
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host
