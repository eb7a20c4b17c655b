"""A small OpenID Connect provider as a process of its own: discovery, code flow with PKCE, signed id tokens, logout.

Whoever comes is signed in at once as the person that was chosen last: PUT /person with the claims, and with
"sign_with_another_key" to be a provider that lies. `python -m tests.oidc_provider PORT`
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import subprocess
import sys
import time
from urllib.parse import urlencode

import httpx
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.portal_process import ROOT, free_port, wait_until

CLIENT_ID, CLIENT_SECRET = "portal", "the portal's secret"


class Provider:
    """State of the provider: who comes next, and the codes that were handed out."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.other_key = RSAKey.generate_key(2048, {"kid": "one"})
        self.person: dict = {}
        self.codes: dict[str, dict] = {}

    async def discovery(self, _request: Request) -> Response:
        endpoints = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "jwks_uri": "jwks",
            "end_session_endpoint": "logout",
        }
        return JSONResponse(
            {name: f"{self.issuer}/{path}" for name, path in endpoints.items()}
            | {
                "issuer": self.issuer,
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def choose(self, request: Request) -> Response:
        self.person = await request.json()
        return PlainTextResponse("chosen")

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if asked.get("client_id") != CLIENT_ID or "code_challenge" not in asked:
            return PlainTextResponse("unknown client", status_code=400)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked | {"person": self.person}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    async def token(self, request: Request) -> Response:
        """A code is good once, for the client that proves itself and the verifier."""
        form = await request.form()
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        asked = self.codes.pop(str(form.get("code")), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form.get("code_verifier")).encode()).digest())
        proven = request.headers.get("authorization") == f"Basic {basic}" or form.get("client_secret") == CLIENT_SECRET
        if asked is None or not proven or challenge.decode().rstrip("=") != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        claims = dict(asked["person"])
        key = self.other_key if claims.pop("sign_with_another_key", False) else self.key
        now = int(time.time())
        claims |= {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked.get("nonce", "")}
        id_token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)
        return JSONResponse(
            {"access_token": secrets.token_urlsafe(8), "token_type": "Bearer", "expires_in": 300, "id_token": id_token}
        )

    async def jwks(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def logout(self, request: Request) -> Response:
        return RedirectResponse(request.query_params.get("post_logout_redirect_uri", "/"))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.discovery),
                Route("/person", self.choose, methods=["PUT"]),
                Route("/authorize", self.authorize),
                Route("/token", self.token, methods=["POST"]),
                Route("/jwks", self.jwks),
                Route("/logout", self.logout),
            ]
        )


class ProviderProcess:
    """The provider, started and stopped by a test."""

    def __init__(self) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen([sys.executable, "-m", "tests.oidc_provider", str(port)], cwd=ROOT)
        wait_until(self._answers, 60, "the provider did not start")

    @property
    def metadata_url(self) -> str:
        return f"{self.url}/.well-known/openid-configuration"

    def next_person(self, subject: str, **claims: object) -> None:
        httpx.put(f"{self.url}/person", json={"sub": subject, **claims}, trust_env=False).raise_for_status()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            return httpx.get(self.metadata_url, trust_env=False).is_success
        except httpx.TransportError:
            return False


if __name__ == "__main__":
    chosen_port = int(sys.argv[1])
    uvicorn.run(Provider(f"http://127.0.0.1:{chosen_port}").app(), port=chosen_port, log_level="warning")
