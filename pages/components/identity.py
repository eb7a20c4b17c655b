"""Who sits at the screen: from the cookies of the browser's socket to the actor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from services.permissions import Actor
from web.visitor import SESSION_COOKIE, SSO_COOKIE

if TYPE_CHECKING:
    from services.bootstrap import Services


def identify(services: Services) -> Actor | None:
    """The actor as of this moment; None is nobody. Raises SignInRefused for a stranger whom the provider knows."""
    cookies = st.context.cookies
    address = st.context.ip_address or "127.0.0.1"  # None says localhost
    if actor := services.accounts.identify(cookies.get(SESSION_COOKIE), address=address):
        return actor
    if services.sso.offered and st.user.is_logged_in:
        browser = st.context.headers.get("User-Agent") or ""
        return services.sso.identify(cookies[SSO_COOKIE], st.user.to_dict(), address=address, browser=browser)
    return None


def sign_out(services: Services, actor: Actor) -> str:
    """End this browser's session; where the browser is to go then."""
    cookies = st.context.cookies
    if token := cookies.get(SESSION_COOKIE):
        services.accounts.sign_out(token, actor)
        return "/auth/sign-in"
    services.accounts.sign_out(services.sso.token(cookies.get(SSO_COOKIE, "")), actor)
    return "/auth/logout"  # Streamlit's route: it also signs out at the provider, where that is offered


def session_token() -> str | None:
    """The token of this browser's password session."""
    return st.context.cookies.get(SESSION_COOKIE)
