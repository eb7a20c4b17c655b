"""What a request tells of who sends it, before anybody looks at the database."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.requests import HTTPConnection

SESSION_COOKIE = "zhiku_session"
SSO_COOKIE = "_streamlit_user"  # Streamlit's own, signed by it
NO_SCREENS = ("/_stcore/", "/media/", "/component/", "/app/static/")


@dataclass(frozen=True)
class Visitor:
    """token: of our own cookie; sso_cookie: Streamlit's. active: a person did something, not a page's own clock.

    on_the_way_in: the request opens a screen (its page or its socket), not a file or an upload.
    """

    token: str
    sso_cookie: str
    address: str
    browser: str
    accept: str
    from_another_site: bool
    on_the_way_in: bool
    active: bool = True

    @property
    def has_cookie(self) -> bool:
        return bool(self.token or self.sso_cookie)

    def acting(self, active: bool) -> Visitor:
        return replace(self, active=active)


def visitor_of(connection: HTTPConnection) -> Visitor:
    headers, cookies = connection.headers, connection.cookies
    return Visitor(
        token=cookies.get(SESSION_COOKIE, ""),
        sso_cookie=cookies.get(SSO_COOKIE, ""),
        address=connection.client.host if connection.client else "",
        browser=headers.get("user-agent", ""),
        accept=headers.get("accept", ""),
        from_another_site=headers.get("sec-fetch-site") == "cross-site",
        on_the_way_in=_opens_a_screen(connection),
    )


def _opens_a_screen(connection: HTTPConnection) -> bool:
    scope = connection.scope
    if scope["type"] == "websocket":
        return True
    wants_page = scope["method"] in ("GET", "HEAD") and "text/html" in connection.headers.get("accept", "")
    return wants_page and not scope["path"].startswith(NO_SCREENS)
