"""The forms beside the screens: sign in, and set a password by a one-time link.

Plain HTML from templates without scripts. A form carries the token of a cookie set with it (double submit), and comes
from this very site; the session's cookie is HttpOnly, SameSite=Strict, and Secure behind HTTPS.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from services.accounts.links import Invited
from services.errors import PortalError, TooManyAttempts
from services.translation import LANGUAGES, N_, Language, explain, translate
from web.single_sign_on import sso_url
from web.visitor import SESSION_COOKIE, visitor_of

if TYPE_CHECKING:
    from services.bootstrap import Services

TEMPLATES = Path(__file__).parent / "templates"
LOGOS = Path(__file__).parent.parent / "pages" / "components"
FILES = [TEMPLATES / "style.css", LOGOS / "logo.svg", LOGOS / "logo_icon.svg"]
FORM_COOKIE = "zhiku_form"
LANGUAGE_COOKIE = "zhiku_language"
LANGUAGE_KEPT_S = 365 * 24 * 3600
FORM_MAX_BYTES = 10_000
FORM_MAX_FIELDS = 20
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser sends "Origin: null"
}


class SignInForms:
    """Routes under /auth/. services: gives the portal's services once they are built."""

    def __init__(self, services: Callable[[], Services]) -> None:
        self._services = services
        self._templates = Jinja2Templates(TEMPLATES)

    def routes(self) -> list[Route]:
        return [
            Route("/auth/sign-in", self.sign_in_form, methods=["GET"]),
            Route("/auth/sign-in", self.sign_in, methods=["POST"]),
            Route("/auth/link/{token}", self.link_form, methods=["GET"]),
            Route("/auth/link/{token}", self.use_link, methods=["POST"]),
            *(Route(f"/auth/{path.name}", _file(path)) for path in FILES),
        ]

    async def sign_in_form(self, request: Request) -> Response:
        """The form; whoever is signed in already goes on to where they wanted."""
        where = local_path(request.query_params.get("next", ""))
        accounts = self._services().accounts
        visitor = visitor_of(request)
        if await run_in_threadpool(accounts.identify, visitor.token, address=visitor.address):
            return RedirectResponse(where, status_code=303)
        notice = N_("Your session has ended. Sign in again.") if "ended" in request.query_params else ""
        return self._page(request, "sign_in.html", where=where, notice=notice)

    async def sign_in(self, request: Request) -> Response:
        """A new session with a new token, whatever cookie was sent; the old one of this browser ends."""
        form = await _form(request)
        where = local_path(form.get("next", ""))
        name, password = form.get("name", ""), form.get("password", "")
        if not _genuine(request, form):
            return self._page(request, "sign_in.html", where=where, notice=N_("Please try once more."), status=403)
        visitor, accounts = visitor_of(request), self._services().accounts
        try:
            token = await run_in_threadpool(
                accounts.sign_in, name, password, address=visitor.address, browser=visitor.browser
            )
        except PortalError as error:
            status = 429 if isinstance(error, TooManyAttempts) else 401
            return self._page(request, "sign_in.html", where=where, name=name, error=error, status=status)
        if visitor.token:
            await run_in_threadpool(accounts.sessions.end, visitor.token)
        response = RedirectResponse(where, status_code=303)
        response.set_cookie(
            SESSION_COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
        )
        response.delete_cookie(FORM_COOKIE, path="/auth/")
        return response

    async def link_form(self, request: Request) -> Response:
        """Looking at a link does not use it up: mail programs look too."""
        try:
            invited = await run_in_threadpool(self._services().accounts.links.look, request.path_params["token"])
        except PortalError as error:
            return self._page(request, "link.html", invited=None, error=error, status=410)
        return self._page(request, "link.html", invited=invited)

    async def use_link(self, request: Request) -> Response:
        form = await _form(request)
        token, accounts = request.path_params["token"], self._services().accounts
        invited = Invited(None, form.get("name", ""))
        try:
            invited = await run_in_threadpool(accounts.links.look, token)
            if not _genuine(request, form):
                return self._page(request, "link.html", invited=invited, notice=N_("Please try once more."), status=403)
            if form.get("password") != form.get("again"):
                notice = N_("The two passwords are not the same.")
                return self._page(request, "link.html", invited=invited, notice=notice, form=form, status=400)
            chosen = {"name": form.get("name", ""), "address": visitor_of(request).address}
            await run_in_threadpool(accounts.use_link, token, form.get("password", ""), **chosen)
        except PortalError as error:
            return self._page(request, "link.html", invited=invited, error=error, form=form, status=400)
        response = RedirectResponse("/auth/sign-in?set=1", status_code=303)
        response.delete_cookie(SESSION_COOKIE, path="/")
        return response

    def _page(
        self, request: Request, template: str, *, error: PortalError | None = None, status: int = 200, **values
    ) -> Response:
        services = self._services()
        language = _language(request, services.settings.language)
        csrf = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
        message, hint = explain(error, language) if error else (translate(values.pop("notice", ""), language), "")
        values.pop("notice", None)
        response = self._templates.TemplateResponse(
            request,
            template,
            {
                "_": lambda text, **params: translate(text, language).format(**params),
                "language": language,
                "csrf": csrf,
                "message": message,
                "hint": hint,
                "set": "set" in request.query_params,
                "sso": services.settings.oidc_name if services.sso.offered else "",
                "sso_url": sso_url() if services.sso.offered else "",
                "min_length": services.settings.password_min_length,
                "other_query": lambda chosen: urlencode({**request.query_params, "lang": chosen}),
            }
            | values,
            status_code=status,
            headers=HEADERS,
        )
        secure = request.url.scheme == "https"
        response.set_cookie(FORM_COOKIE, csrf, httponly=True, samesite="strict", secure=secure, path="/auth/")
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=LANGUAGE_KEPT_S, samesite="lax", secure=secure)
        return response


def local_path(wanted: str) -> str:
    """Where to go after signing in: a path of this portal, else its home. Never another site's address."""
    try:
        parts = urlsplit(wanted)
    except ValueError:  # "//[": no address at all
        return "/"
    strange = parts.scheme or parts.netloc or not wanted.startswith("/") or wanted.startswith(("//", "/\\"))
    return "/" if strange or any(ch in wanted for ch in "\r\n\t\\") or wanted.startswith("/auth/") else wanted


def _genuine(request: Request, form: dict[str, str]) -> bool:
    """Whether the form is ours: its token is the cookie's, and no other site sent it."""
    cookie, token = request.cookies.get(FORM_COOKIE, ""), form.get("csrf", "")
    origin = request.headers.get("origin")
    ours = origin is None or origin.partition("://")[2] == request.headers.get("host", "")
    return bool(cookie) and secrets.compare_digest(cookie.encode(), token.encode()) and ours


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form as our pages send it; none of what is larger or something else."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_MAX_BYTES:
            return {}
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_MAX_FIELDS))
    except ValueError:  # not UTF-8, or too many fields
        return {}


def _language(request: Request, default: Language) -> Language:
    """What was chosen on these forms, else what the browser prefers most of our languages."""
    chosen = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE, "")
    for part in (chosen, *request.headers.get("accept-language", "").split(",")):
        begins = part.strip()[:2].lower()
        if begins in LANGUAGES:
            return begins
    return default


def _file(path: Path) -> Callable[[Request], Response]:
    return lambda _request: FileResponse(path, headers={"Cache-Control": "max-age=3600"})
