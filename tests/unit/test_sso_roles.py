"""From what the company's provider says of somebody to roles here."""

from __future__ import annotations

import pytest

from services.accounts.sso import roles_of
from services.errors import BadInput
from services.settings import Settings
from web.single_sign_on import streamlit_secrets

SETTINGS = Settings(
    oidc_roles={
        "group:it": ["user", "admin"],
        "group:audit": ["auditor"],
        "email:li.na@example.com": ["auditor"],
        "domain:example.com": ["user"],
        "group:odd": ["root", "superuser", ""],
    }
)


@pytest.mark.parametrize(
    ("claims", "roles"),
    [
        ({}, set()),
        ({"groups": ["it"]}, {"user", "admin"}),
        ({"groups": "it"}, {"user", "admin"}),
        ({"groups": ["it", "audit"]}, {"user", "admin", "auditor"}),
        ({"groups": ["IT"]}, set()),
        ({"groups": ["odd"]}, set()),
        ({"groups": None}, set()),
        ({"groups": ["email:li.na@example.com", "domain:example.com"]}, set()),
        ({"email": "li.na@example.com", "email_verified": True}, {"auditor", "user"}),
        ({"email": "Li.Na@Example.COM", "email_verified": True}, {"auditor", "user"}),
        ({"email": "li.na@example.com"}, set()),
        ({"email": "li.na@example.com", "email_verified": False}, set()),
        ({"email": "li.na@example.com", "email_verified": "true"}, set()),
        ({"email": "wang@example.com", "email_verified": True}, {"user"}),
        ({"email": "wang@example.com.evil", "email_verified": True}, set()),
        ({"email": "wang@evil.example.com", "email_verified": True}, set()),
        ({"email": "example.com@evil", "email_verified": True}, set()),
        ({"email": '"x@example.com"@evil', "email_verified": True}, set()),
        ({"email": "", "email_verified": True}, set()),
        ({"email": "@", "email_verified": True}, set()),
    ],
)
def test_roles_come_from_groups_and_verified_addresses_only(claims, roles):
    assert roles_of(claims, SETTINGS) == roles


def test_the_claim_that_holds_the_groups_can_be_named():
    settings = SETTINGS.model_copy(update={"oidc_groups_claim": "roles"})
    assert roles_of({"roles": ["audit"], "groups": ["it"]}, settings) == {"auditor"}


def test_half_a_configuration_is_refused_at_the_start(tmp_path):
    half = Settings(home=tmp_path, oidc_metadata_url="https://id.example/.well-known/openid-configuration")
    with pytest.raises(BadInput):
        streamlit_secrets(half)


def test_the_secret_that_signs_cookies_is_kept_and_is_the_owners_only(tmp_path):
    settings = Settings(
        home=tmp_path,
        public_url="https://zhiku.example/",
        oidc_metadata_url="https://id.example/x",
        oidc_client_id="portal",
        oidc_client_secret="s3cret",
    )
    first = streamlit_secrets(settings)["auth"]
    assert streamlit_secrets(settings)["auth"] == first
    assert len(first["cookie_secret"]) >= 64
    assert first["redirect_uri"] == "https://zhiku.example/oauth2callback"
    (path,) = tmp_path.iterdir()
    assert path.stat().st_mode & 0o077 == 0


def test_without_a_provider_there_is_nothing_to_configure(tmp_path):
    assert streamlit_secrets(Settings(home=tmp_path)) == {}
    assert list(tmp_path.iterdir()) == []
