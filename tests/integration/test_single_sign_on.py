"""Single sign-on against a real provider: the whole way through its redirects, and then over the page's websocket."""

from __future__ import annotations

import html
import json
import re

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, ProviderProcess
from tests.portal_in_thread import button_id, page_socket, received, rerun, words
from tests.portal_process import PortalProcess
from tests.signing_in import browser

PAGE = {"Accept": "text/html"}
ROLES = {
    "group:it": ["user", "admin"],
    "email:audit@example.com": ["auditor"],
    "domain:example.com": ["user"],
}


@pytest.fixture(scope="module")
def provider():
    process = ProviderProcess()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def portal(provider, tmp_path_factory):
    portal = PortalProcess(
        tmp_path_factory.mktemp("portal"),
        PORTAL_ENGINE_AUTOSTART="false",
        PORTAL_OFFLINE="1",
        PORTAL_LANGUAGE="en",
        PORTAL_OIDC_METADATA_URL=provider.metadata_url,
        PORTAL_OIDC_CLIENT_ID=CLIENT_ID,
        PORTAL_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        PORTAL_OIDC_NAME="Example Login",
        PORTAL_OIDC_ROLES=json.dumps(ROLES),
    )
    portal.environment["PORTAL_PUBLIC_URL"] = portal.url
    portal.start(timeout_s=180)
    yield portal
    portal.stop()


def come_by_provider(portal: PortalProcess, client: httpx.Client | None = None) -> httpx.Client:
    """From the button of the sign-in form through the provider and back."""
    client = client or browser(portal.url)
    form = client.get("/auth/sign-in").text
    assert "Sign in with Example Login" in form
    way = html.unescape(re.search(r'href="(/auth/login[^"]*)"', form)[1])
    client.get(way, follow_redirects=True, headers=PAGE)
    return client


def screen(portal: PortalProcess, client: httpx.Client, page: str = "") -> str:
    """What the page shows, over its websocket."""
    with page_socket(portal.url, client) as socket:
        socket.send(rerun(page=page))
        return words(received(socket, "script_finished"))


def person(portal: PortalProcess, name: str) -> dict | None:
    return next((one for one in portal.cli("users", "list")["users"] if one["name"] == name), None)


def upload(client: httpx.Client) -> int:
    """401 is for nobody; anything else is Streamlit's own answer."""
    return client.put("/_stcore/upload_file/x/y").status_code


def test_a_group_at_the_provider_gives_its_roles_here(portal, provider):
    provider.next_person("1", preferred_username="li.na", name="Li Na", groups=["it"])
    client = come_by_provider(portal)
    assert client.get("/", headers=PAGE).status_code == 200
    assert "Ask what your company knows" in screen(portal, client)
    assert "Li Na" in screen(portal, client)
    assert "Invite" in screen(portal, client, "people")
    found = person(portal, "li.na")
    assert (found["method"], found["roles"]) == ("sso", ["admin", "user"])
    assert upload(client) != 401


def test_a_verified_address_gives_its_roles_and_an_unverified_one_none(portal, provider):
    provider.next_person("2", preferred_username="audit", email="audit@example.com", email_verified=True)
    assert "Audit" in screen(portal, come_by_provider(portal), "audit")
    assert person(portal, "audit")["roles"] == ["auditor", "user"]
    provider.next_person("3", preferred_username="liar", email="audit@example.com", email_verified=False)
    assert "Your account may not use this portal" in screen(portal, come_by_provider(portal))
    assert person(portal, "liar") is None


def test_somebody_without_a_role_is_refused_in_our_words_and_gets_nothing(portal, provider):
    provider.next_person("4", preferred_username="mallory", name="Mallory", groups=["guests"])
    client = come_by_provider(portal)
    for page in ("", "ask_docs", "documents", "people", "audit", "account"):
        shown = screen(portal, client, page)
        assert "Your account may not use this portal" in shown
        assert "Samples" not in shown
        assert "Mallory" not in shown
    assert person(portal, "mallory") is None
    assert upload(client) == 401


def test_roles_are_those_of_the_last_sign_in_at_the_provider(portal, provider):
    provider.next_person("5", preferred_username="wang", groups=["it"])
    screen(portal, come_by_provider(portal))
    provider.next_person("5", preferred_username="wang", email="wang@example.com", email_verified=True)
    assert "You may not do this" in screen(portal, come_by_provider(portal), "people")
    assert person(portal, "wang")["roles"] == ["user"]


def test_disabling_ends_it_within_one_message_and_the_provider_does_not_bring_one_back(portal, provider):
    provider.next_person("6", preferred_username="zhao", groups=["it"])
    client = come_by_provider(portal)
    with page_socket(portal.url, client) as socket:
        socket.send(rerun())
        received(socket, "script_finished")
        portal.cli("users", "disable", "zhao")
        socket.send(rerun())
        assert received(socket, "auth_redirect")[-1].auth_redirect.url.startswith("/auth/sign-in")
    with pytest.raises(InvalidStatus):
        page_socket(portal.url, client)
    assert client.get("/", headers=PAGE).status_code == httpx.codes.SEE_OTHER
    assert upload(client) == 401
    again = come_by_provider(portal)
    assert "Your account may not use this portal" in screen(portal, again)


def test_signing_out_ends_the_session_and_its_cookie_replayed_is_nobody(portal, provider):
    provider.next_person("7", preferred_username="sun", groups=["it"])
    client = come_by_provider(portal)
    stolen = browser(portal.url, cookies=dict(client.cookies))
    with page_socket(portal.url, client) as socket:
        socket.send(rerun())
        drawn = received(socket, "script_finished")
        socket.send(rerun(button=button_id(drawn, "Sign out")))
        assert received(socket, "auth_redirect")[-1].auth_redirect.url == "/auth/logout"
    client.get("/auth/logout", follow_redirects=True, headers=PAGE)
    assert "_streamlit_user" not in client.cookies
    assert upload(client) == 401
    assert upload(stolen) == 401
    assert stolen.get("/", headers=PAGE).status_code == httpx.codes.SEE_OTHER
    with pytest.raises(InvalidStatus):
        page_socket(portal.url, stolen)
    assert "Ask what your company knows" in screen(portal, come_by_provider(portal))


def test_a_cookie_that_nobody_signed_opens_no_page_and_no_file(portal):
    client = browser(portal.url, cookies={"_streamlit_user": "forged"})
    for page in ("", "people", "audit"):
        shown = screen(portal, client, page)
        assert "Please sign in to use the portal" in shown
        assert "Samples" not in shown
    assert upload(client) == 401
    assert client.put("/_stcore/upload_file/x/y", headers=PAGE).status_code == 401
    assert client.get("/media/x.png", headers=PAGE).status_code != 200


def test_a_token_that_the_provider_did_not_sign_is_not_believed(portal, provider):
    provider.next_person("8", preferred_username="forger", groups=["it"], sign_with_another_key=True)
    client = come_by_provider(portal)
    assert "_streamlit_user" not in client.cookies
    assert person(portal, "forger") is None


def test_an_answer_of_the_provider_to_somebody_elses_question_is_not_taken(portal, provider):
    """The state belongs to the browser that asked: no login by a link that an attacker sent."""
    provider.next_person("9", preferred_username="attacker", groups=["it"])
    attacker = browser(portal.url)
    form = attacker.get("/auth/sign-in").text
    to_provider = attacker.get(html.unescape(re.search(r'href="(/auth/login[^"]*)"', form)[1])).headers["location"]
    callback = httpx.get(to_provider, trust_env=False).headers["location"]
    victim = browser(portal.url)
    victim.get(callback, follow_redirects=True, headers=PAGE)
    assert "_streamlit_user" not in victim.cookies


def test_a_name_that_somebody_has_with_a_password_stays_theirs(portal, provider):
    portal.cli("users", "add", "qian", "--role", "auditor")
    provider.next_person("10", preferred_username="qian", groups=["it"])
    screen(portal, come_by_provider(portal))
    assert person(portal, "qian")["roles"] == ["auditor"]
    assert person(portal, "qian.2")["roles"] == ["admin", "user"]


def test_people_with_so_many_groups_that_the_cookie_is_in_parts_are_not_mixed_up(portal, provider):
    many = [f"a-rather-long-name-of-a-group-number-{n}" for n in range(300)]
    clients = []
    for number in (11, 12, 13):  # within one second or two: Streamlit's first part holds only a count and the time
        provider.next_person(str(number), preferred_username=f"big{number}", name=f"Big {number}", groups=["it", *many])
        clients.append((number, come_by_provider(portal)))
    for number, client in clients:
        shown = screen(portal, client)
        assert f"Big {number}" in shown or "Please sign in" in shown
        assert not [other for other, _ in clients if other != number and f"Big {other}" in shown]


def test_signing_in_by_the_provider_and_being_refused_are_in_the_audit(portal):
    events = portal.cli("audit", "search", "--action", "sign_in")["events"]
    assert {(event["outcome"], event["detail"]["method"]) for event in events} == {
        ("succeeded", "sso"),
        ("failed", "sso"),
    }
    assert {"no role", "disabled"} <= {event["detail"].get("reason") for event in events}
