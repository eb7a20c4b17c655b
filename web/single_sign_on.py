"""The configuration of Streamlit's st.login, from the portal's settings instead of a secrets file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from services.errors import BadInput
from services.settings import Settings
from services.translation import N_

PROVIDER = "default"  # Streamlit's name for the only one
CALLBACK = "/oauth2callback"


def streamlit_secrets(settings: Settings) -> dict:
    """What st.App takes as `secrets`; empty without single sign-on. Raises BadInput for half a configuration."""
    if not settings.oidc_metadata_url:
        return {}
    if not (settings.oidc_client_id and settings.oidc_client_secret and settings.public_url):
        raise BadInput(
            N_("Single sign-on is only half configured."),
            hint=N_("Set PORTAL_OIDC_CLIENT_ID, PORTAL_OIDC_CLIENT_SECRET and PORTAL_PUBLIC_URL too."),
        )
    return {
        "auth": {
            "redirect_uri": settings.public_url.rstrip("/") + CALLBACK,
            "cookie_secret": _kept_secret(settings.home / "sso_cookie.key"),
            "client_id": settings.oidc_client_id,
            "client_secret": settings.oidc_client_secret,
            "server_metadata_url": settings.oidc_metadata_url,
        }
    }


def sso_url() -> str:
    """Where the way to the provider begins: Streamlit's own route, with its short-lived signed token."""
    from streamlit.auth_util import encode_provider_token

    return f"/auth/login?provider={encode_provider_token(PROVIDER)}"


def _kept_secret(path: Path) -> str:
    """A random secret that is the same after a restart; readable by the portal's user only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text()
