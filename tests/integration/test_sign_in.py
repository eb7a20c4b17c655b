"""Signing in, sessions, and the door of the real application, over HTTP and over the page's websocket."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from pages.components import frame
from services.audit.events import Action
from services.audit.filters import Filter
from services.errors import SignInRefused, TooManyAttempts
from services.permissions import CONSOLE, Role
from services.settings import Settings
from tests.fakes import PASSWORD
from tests.portal_in_thread import SESSION_COOKIE, portal_in_thread, received, rerun
from tests.portal_process import PortalProcess
from tests.signing_in import become_first_admin, browser, csrf, set_password, sign_in

PAGE = {"Accept": "text/html,application/xhtml+xml"}
PAGES = ["/", "/account", *(f"/{file.removeprefix('pages/').removesuffix('.py')}" for file, *_ in frame.PAGES)]
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def running(migrated, tmp_path_factory):
    home = tmp_path_factory.mktemp("portal") / "home"
    shutil.copytree(migrated, home)
    settings = Settings(home=home, language="en", disk_reserve_mib=1)
    with portal_in_thread(settings, tmp_path_factory.mktemp("no_samples")) as portal:
        yield portal


@pytest.fixture
def portal(running):
    """Days after the test before: nobody is throttled any more, and nobody is signed in."""
    running.clock.forward(days=2)
    return running


@pytest.fixture
def anna(portal):
    """A person of this test's own."""
    return portal.person(f"anna{next(_numbers)}@example.com")


def nobody(portal) -> httpx.Client:
    return browser(portal.url)


def session_cookie(answer: httpx.Response) -> str:
    """The Set-Cookie header of the session."""
    return next(header for header in answer.headers.get_list("set-cookie") if header.startswith(SESSION_COOKIE))


# The door


@pytest.mark.parametrize("path", PAGES)
def test_nobody_is_led_from_every_page_to_the_form_and_back_to_it(portal, path):
    """First of all tests: nobody opened any page of this server yet."""
    answer = nobody(portal).get(f"{path}?c=1", headers=PAGE)
    assert answer.status_code == httpx.codes.SEE_OTHER
    assert httpx.URL(answer.headers["location"]).path == "/auth/sign-in"
    assert httpx.URL(answer.headers["location"]).params["next"] == f"{path}?c=1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/documents"),
        ("PUT", "/_stcore/upload_file/session/file"),
        ("DELETE", "/_stcore/upload_file/session/file"),
        ("GET", "/media/0123456789abcdef.png"),
        ("GET", "/component/x/index.html"),
        ("GET", "/app/static/x.css"),
        ("GET", "/_stcore/metrics"),
        ("GET", "/_stcore/script-health-check"),
        ("POST", "/_stcore/agent/interact"),
        ("GET", "/_stcore/agent/openapi.json"),
        ("POST", "/_stcore/agent/mcp"),
        ("GET", "/no/such/page"),
    ],
)
@pytest.mark.parametrize("cookies", [{}, {SESSION_COOKIE: "guess"}, {"_streamlit_user": "guess"}], ids=str)
def test_without_a_session_there_is_no_file_and_no_upload(portal, method, path, cookies):
    answer = browser(portal.url, cookies=cookies).request(method, path)
    assert (answer.status_code, answer.text) == (401, "Sign in first.")


@pytest.mark.parametrize("cookies", [{}, {SESSION_COOKIE: "guess"}, {"_streamlit_user": "guess"}], ids=str)
def test_without_a_session_there_is_no_socket(portal, cookies):
    with pytest.raises(InvalidStatus) as refused:
        portal.socket(browser(portal.url, cookies=cookies))
    assert refused.value.response.status_code == 403


def test_what_is_open_to_nobody_tells_nothing(portal):
    client = nobody(portal)
    assert client.get("/healthz").json().keys() == {"portal", "chat_engine"}
    assert client.post("/operator/users_list", json={}).status_code == 404
    assert client.get("/auth/style.css").status_code == 200
    assert client.get("/auth/../services/settings.py").status_code != 200
    assert client.get("/auth/%2e%2e/media/x.png").status_code != 200


def test_a_link_from_another_site_loads_the_page_once_more_so_that_the_cookie_comes_along(portal):
    answer = nobody(portal).get("/documents", headers=PAGE | {"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert "http-equiv" in answer.text


# The cookie


def test_the_sessions_cookie_is_out_of_reach_of_scripts_and_other_sites(portal, anna):
    flags = session_cookie(sign_in(nobody(portal), anna.name, PASSWORD)).split("; ")[1:]
    assert {flag.lower() for flag in flags} == {"httponly", "path=/", "samesite=strict"}


def test_an_untrusted_proxys_word_for_https_is_not_believed(portal, anna):
    answer = sign_in(nobody(portal), anna.name, PASSWORD, headers={"X-Forwarded-Proto": "https"})
    assert "secure" not in session_cookie(answer).lower()


def test_the_token_is_stored_as_its_hash_only(portal, anna):
    token = portal.signed_in(anna.name).cookies[SESSION_COOKIE]
    home = portal.services.settings.home
    assert len(token) >= 43
    assert not [path for path in home.rglob("*sqlite3*") if token.encode() in path.read_bytes()]


def test_a_planted_cookie_is_not_adopted(portal, anna):
    client = nobody(portal)
    client.cookies.set(SESSION_COOKIE, "planted", domain="127.0.0.1", path="/")
    token = re.match(rf"{SESSION_COOKIE}=([^;]+)", session_cookie(sign_in(client, anna.name, PASSWORD)))[1]
    assert token != "planted"
    assert portal.services.accounts.identify(token).id == anna.id
    assert portal.services.accounts.identify("planted") is None


def test_an_attackers_own_session_does_not_become_the_victims(portal, anna):
    mallory = portal.person(f"mallory{next(_numbers)}")
    planted = portal.signed_in(mallory.name).cookies[SESSION_COOKIE]
    client = nobody(portal)
    form = {"name": anna.name, "password": PASSWORD, "csrf": csrf(client)}
    client.post("/auth/sign-in", data=form, headers={"Cookie": f"{SESSION_COOKIE}={planted}; {_cookies(client)}"})
    assert portal.services.accounts.identify(planted) is None
    assert portal.services.accounts.identify(client.cookies[SESSION_COOKIE]).id == anna.id


def _cookies(client: httpx.Client) -> str:
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


# Cross-site requests


def _unsafe_routes(portal) -> list[tuple[str, str]]:
    """(method, path) of everything in the running application that takes an unsafe method."""
    found = []
    for route in portal.app._starlette_app.routes:
        for method in sorted(UNSAFE & set(getattr(route, "methods", None) or ())):
            found.append((method, re.sub(r"\{[^}]*\}", "x", route.path)))
    return found


def test_every_route_that_changes_something_refuses_what_another_site_sends(portal, anna):
    routes = _unsafe_routes(portal)
    assert {("POST", "/auth/sign-in"), ("POST", "/auth/link/x"), ("POST", "/operator/x")} <= set(routes)
    _person_id, link = portal.services.people.invite(CONSOLE, f"new{next(_numbers)}", [Role.USER])
    for method, route in routes:
        path = route.replace("/auth/link/x", f"/auth/link/{link}")
        for forged in _forgeries(portal, anna, path):
            answer = forged(method, path)
            assert answer.status_code >= 400, (method, path, answer.status_code, answer.text[:200])
    assert portal.services.accounts.links.look(link).person_id  # not used up


def _forgeries(portal, anna, path):
    """A form filled in rightly by somebody signed in, but for what proves where it was sent from."""
    right = {"name": anna.name, "password": PASSWORD, "again": PASSWORD, "next": "/"}
    form_path = path if path.startswith("/auth/link") else "/auth/sign-in"

    def without_token(method, path):
        client = portal.signed_in(anna.name)
        return client.request(method, path, data=right)

    def with_a_foreign_token(method, path):
        client = portal.signed_in(anna.name)
        client.get(form_path)
        return client.request(method, path, data=right | {"csrf": csrf(nobody(portal))})

    def without_the_tokens_cookie(method, path):
        client = portal.signed_in(anna.name)
        return client.request(method, path, data=right | {"csrf": csrf(nobody(portal))})

    def from_a_foreign_origin(method, path):
        client = portal.signed_in(anna.name)
        token = csrf(nobody(portal), form_path)
        cookie = f"{_cookies(client)}; zhiku_form={token}"
        headers = {"Origin": "https://evil.example", "Cookie": cookie}
        return httpx.request(method, portal.url + path, data=right | {"csrf": token}, headers=headers, trust_env=False)

    def from_an_opaque_origin(method, path):
        client, token = portal.signed_in(anna.name), csrf(nobody(portal), form_path)
        headers = {"Origin": "null", "Cookie": f"{_cookies(client)}; zhiku_form={token}"}
        return httpx.request(method, portal.url + path, data=right | {"csrf": token}, headers=headers, trust_env=False)

    return without_token, with_a_foreign_token, without_the_tokens_cookie, from_a_foreign_origin, from_an_opaque_origin


def test_a_form_with_its_token_and_our_own_origin_is_taken(portal, anna):
    answer = sign_in(nobody(portal), anna.name, PASSWORD, headers={"Origin": portal.url})
    assert answer.status_code == httpx.codes.SEE_OTHER


@pytest.mark.parametrize("origin", ["http://[", "http://127.0.0.1:1@evil.example", "file://", "//evil"])
def test_an_odd_origin_is_refused_and_not_a_failure(portal, anna, origin):
    answer = sign_in(nobody(portal), anna.name, PASSWORD, headers={"Origin": origin})
    assert answer.status_code == 403


# Where one goes afterwards


@pytest.mark.parametrize(
    "next",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "http:evil.example",
        "/auth/logout",
        "evil.example",
        "//[",
        "http://[::1",
        "/x\r\nSet-Cookie: a=b",
        "//evil.example/%2f..",
        "/auth/sign-in",
        "x" * 9000,
        "/\u2028/evil",
        "/\x00/evil.example",
    ],
)
def test_nobody_is_led_away_after_signing_in(portal, anna, next):
    client = nobody(portal)
    answer = sign_in(client, anna.name, PASSWORD, next=next)
    assert answer.status_code == httpx.codes.SEE_OTHER
    target = answer.headers["location"]
    assert httpx.URL(portal.url).join(target).host == "127.0.0.1"
    assert target.startswith("/")
    assert not target.startswith(("//", "/\\", "/auth/"))
    assert "a=b" not in answer.headers.get("set-cookie", "")
    again = client.get("/auth/sign-in", params={"next": next})
    assert again.headers["location"] == target


@pytest.mark.parametrize("next", ["/", "/ask_docs?c=1&x=%2F", "/documents#top"])
def test_one_goes_on_to_the_page_one_wanted(portal, anna, next):
    assert sign_in(nobody(portal), anna.name, PASSWORD, next=next).headers["location"] == next


# The same answer whoever it is


def _neutral(answer: httpx.Response, typed: str) -> tuple[int, str]:
    body = re.sub(r'name="csrf" value="[^"]*"', "", answer.text)
    return answer.status_code, body.replace(typed, "…")


def test_an_unknown_name_is_answered_like_a_wrong_password_with_as_much_work(portal, anna):
    closed, locked = (portal.person(f"{kind}{next(_numbers)}@example.com") for kind in ("closed", "locked"))
    invited = f"invited{next(_numbers)}@example.com"
    portal.services.people.invite(CONSOLE, invited, [Role.USER])
    portal.services.people.disable(CONSOLE, closed.id)
    portal.services.accounts._locked(locked.id)
    answers, compared = set(), set()
    for name, password in (
        (anna.name, "wrong password"),
        ("unknown@example.com", "wrong password"),
        ("unknown@example.com", PASSWORD),
        (closed.name, PASSWORD),
        (locked.name, PASSWORD),
        (invited, PASSWORD),
    ):
        client, before = nobody(portal), portal.passwords.compared
        answer = sign_in(client, name, password)
        answers.add((*_neutral(answer, name), tuple(sorted(answer.headers.keys()))))
        compared.add(portal.passwords.compared - before)
        assert SESSION_COOKIE not in client.cookies
    assert len(answers) == 1
    assert compared == {1}


def test_a_name_signs_in_however_it_is_typed(portal):
    name = f"wang.fang{next(_numbers)}@example.com"
    person = portal.person(name)
    full_width = "".join(chr(ord(ch) + 0xFEE0) if "!" <= ch <= "~" else ch for ch in name)
    for typed in (name, name.upper(), f"  {name} ", full_width):
        client = portal.signed_in(typed)
        assert portal.services.accounts.identify(client.cookies[SESSION_COOKIE]).id == person.id


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 500,
        b"\xff\xfe" * 500,
        b"name=%00&password=%00",
        b"name=%ed%a0%80&password=%ed%a0%80",
        b"name=" + b"%F0%9F%98%80" * 100,
        b"&" * 5000,
        b"a=1&" * 2000,
        b"=" * 9000,
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x; charset=utf-7", "text/plain"]
)
def test_odd_forms_are_refused_and_no_failure(portal, body, kind):
    answer = nobody(portal).post("/auth/sign-in", content=body, headers={"Content-Type": kind})
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "value", ["\x00", "a\x00b", "\u202e", "😀" * 50, "ﷺ" * 100, "a" * 3000, "'; DROP TABLE people; --"]
)
def test_odd_names_and_passwords_are_wrong_and_no_failure(portal, value):
    for name, password in ((value, PASSWORD), ("somebody", value)):
        assert sign_in(nobody(portal), name, password).status_code == 401


@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_of_ten_megabytes_is_refused_without_reading_it_all_into_a_form(portal, chunked):
    body = b"csrf=x&name=" + b"a" * 10_000_000
    content = (body[at : at + 65536] for at in range(0, len(body), 65536)) if chunked else body
    began = time.monotonic()
    try:
        answer = nobody(portal).post(
            "/auth/sign-in", content=content, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert 400 <= answer.status_code < 500
    except httpx.TransportError:
        pass  # the connection was closed in the middle: also refused
    assert time.monotonic() - began < 20


# One-time links


def test_a_link_sets_a_password_once(portal):
    name = f"ben{next(_numbers)}"
    _id, token = portal.services.people.invite(CONSOLE, name, [Role.USER])
    client = nobody(portal)
    assert client.get(f"/auth/link/{token}").status_code == 200
    assert client.get(f"/auth/link/{token}").status_code == 200  # looking does not use it up
    assert set_password(client, f"/auth/link/{token}", PASSWORD).status_code == httpx.codes.SEE_OTHER
    assert client.get(f"/auth/link/{token}").status_code == 410
    portal.signed_in(name)


def test_of_many_uses_of_one_link_at_once_one_succeeds(portal):
    _id, token = portal.services.people.invite(CONSOLE, f"cara{next(_numbers)}", [Role.USER])

    def use(number: int) -> bool:
        try:
            portal.services.accounts.use_link(token, f"{PASSWORD} {number}")
        except SignInRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(8))) == 1


@pytest.mark.parametrize("fate", ["expired", "voided by a newer one", "of a closed account", "unknown"])
def test_a_link_that_is_over_says_so_and_sets_nothing(portal, anna, fate):
    client, people = nobody(portal), portal.services.people
    token = people.reset(CONSOLE, anna.id)
    form = {"password": "another long password", "again": "another long password", "csrf": csrf(client)}
    if fate == "expired":
        portal.clock.forward(hours=portal.services.settings.link_hours, seconds=1)
    elif fate == "voided by a newer one":
        people.reset(CONSOLE, anna.id)
    elif fate == "of a closed account":
        people.disable(CONSOLE, anna.id)
    else:
        token = "x" * 43
    assert client.get(f"/auth/link/{token}").status_code == 410
    answer = client.post(f"/auth/link/{token}", data=form)
    assert answer.status_code == 400
    assert "used or is too old" in answer.text
    people.enable(CONSOLE, anna.id)
    portal.signed_in(anna.name)  # with the old password


def test_a_reset_ends_the_sessions_and_the_old_password_only_when_the_link_is_used(portal, anna):
    open_page = portal.signed_in(anna.name)
    token = portal.services.people.reset(CONSOLE, anna.id)
    assert portal.status(open_page) == 200
    portal.services.accounts.use_link(token, "another long password")
    assert portal.status(open_page) == 401
    assert sign_in(nobody(portal), anna.name, PASSWORD).status_code == 401
    assert sign_in(nobody(portal), anna.name, "another long password").status_code == httpx.codes.SEE_OTHER


def test_a_bad_password_does_not_use_the_link_up(portal):
    name = f"dora{next(_numbers)}"
    _id, token = portal.services.people.invite(CONSOLE, name, [Role.USER])
    client = nobody(portal)
    for bad in ("short", "password123", f"{name} {name}", "x" * 201):
        assert set_password(client, f"/auth/link/{token}", bad).status_code == 400
    form = {"password": PASSWORD, "again": "another long password", "csrf": csrf(client, f"/auth/link/{token}")}
    assert client.post(f"/auth/link/{token}", data=form).status_code == 400
    assert set_password(client, f"/auth/link/{token}", PASSWORD).status_code == httpx.codes.SEE_OTHER


# How sessions end


def test_disabling_ends_the_session_and_the_open_socket_within_one_message(portal, anna):
    client = portal.signed_in(anna.name)
    with portal.socket(client) as socket:
        socket.send(rerun())
        assert received(socket, "script_finished")[-1].WhichOneof("type") == "script_finished"
        portal.services.people.disable(CONSOLE, anna.id)
        socket.send(rerun())
        assert _sent_away(socket)
    assert portal.status(client) == 401
    with pytest.raises(InvalidStatus):
        portal.socket(client)


def _sent_away(socket) -> bool:
    """The page is told to open the form, and hears no more."""
    last = received(socket, "auth_redirect")[-1]
    assert last.auth_redirect.url.startswith("/auth/sign-in")
    received(socket, "nothing more, but the end")
    return socket.close_code == 1008


@pytest.mark.parametrize(
    "ending",
    [
        lambda portal, anna, token: portal.services.people.set_roles(CONSOLE, anna.id, [Role.AUDITOR]),
        lambda portal, anna, token: portal.services.accounts.sign_out(token, anna),
        lambda portal, anna, token: portal.services.accounts.sign_out_everywhere(anna),
        lambda portal, anna, token: portal.services.accounts.change_password(anna, PASSWORD, f"{PASSWORD}!"),
        lambda portal, anna, token: portal.services.people.disable(CONSOLE, anna.id),
    ],
    ids=["other roles", "signing out", "signing out everywhere", "a new password", "disabling"],
)
def test_a_session_is_over_with_the_next_request_after(portal, anna, ending):
    client = portal.signed_in(anna.name)
    assert portal.status(client) == 200
    ending(portal, anna, client.cookies[SESSION_COOKIE])
    assert portal.status(client) == 401


def test_signing_out_everywhere_ends_every_browsers_session_and_nobody_elses(portal, anna):
    other = portal.signed_in(portal.person(f"other{next(_numbers)}").name)
    browsers = [portal.signed_in(anna.name) for _ in range(3)]
    assert portal.services.accounts.sign_out_everywhere(anna) == 3
    assert [portal.status(client) for client in [*browsers, other]] == [401, 401, 401, 200]


def test_a_new_password_keeps_the_browser_it_was_set_in(portal, anna):
    here, there = portal.signed_in(anna.name), portal.signed_in(anna.name)
    portal.services.accounts.change_password(anna, PASSWORD, f"{PASSWORD}!", keep=here.cookies[SESSION_COOKIE])
    assert [portal.status(here), portal.status(there)] == [200, 401]


def test_a_session_ends_after_the_idle_time(portal, anna):
    client, idle = portal.signed_in(anna.name), portal.services.settings.session_idle_minutes
    for _ in range(3):
        portal.clock.forward(minutes=idle - 1)
        assert portal.status(client) == 200
    portal.clock.forward(minutes=idle + 1)
    assert portal.status(client) == 401


def test_a_session_ends_after_its_hours_however_much_it_is_used(portal, anna):
    client, settings = portal.signed_in(anna.name), portal.services.settings
    for _ in range(settings.session_hours):
        assert portal.status(client) == 200
        portal.clock.forward(hours=1)
    portal.clock.forward(seconds=1)
    assert portal.status(client) == 401


def test_a_pages_own_refreshes_keep_nobody_signed_in(portal, anna):
    client, idle = portal.signed_in(anna.name), portal.services.settings.session_idle_minutes
    with portal.socket(client) as socket:
        socket.send(rerun())
        received(socket, "script_finished")
        for _ in range(4):
            portal.clock.forward(minutes=idle / 4)
            socket.send(rerun(auto=True))
        portal.clock.forward(minutes=1)
        socket.send(rerun(auto=True))
        assert _sent_away(socket)


def test_a_persons_clicks_keep_the_open_page_signed_in(portal, anna):
    client, idle = portal.signed_in(anna.name), portal.services.settings.session_idle_minutes
    with portal.socket(client) as socket:
        for _ in range(4):
            socket.send(rerun())
            received(socket, "script_finished")
            portal.clock.forward(minutes=idle / 2)
    assert portal.status(client) == 200


# What the audit knows


def test_signing_in_and_failing_to_are_in_the_audit_with_the_address(portal, anna):
    auditor = portal.person(f"audit{next(_numbers)}", Role.AUDITOR)
    sign_in(nobody(portal), anna.name, "wrong password")
    sign_in(nobody(portal), "unknown@example.com", "typed into the wrong field")
    portal.signed_in(anna.name)
    events = portal.services.audit_log.search(Filter(action=Action.SIGN_IN), auditor, limit=3).events
    assert [event.outcome for event in events] == ["succeeded", "failed", "failed"]
    assert [event.actor_id for event in events] == [anna.id, "", anna.id]
    assert {event.address for event in events} == {"127.0.0.1"}
    assert [event.detail.get("reason", "") for event in events] == ["", "unknown name", "wrong password"]


def test_wrong_passwords_are_throttled_over_http(portal, anna):
    statuses = [sign_in(nobody(portal), anna.name, "wrong password").status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert sign_in(nobody(portal), anna.name, PASSWORD).status_code == 429  # the right one has to wait too
    portal.clock.forward(seconds=2)
    portal.signed_in(anna.name)


def test_the_throttle_says_the_same_of_a_name_that_nobody_has(portal, anna):
    def refused(name):
        said = []
        for _ in range(7):
            with pytest.raises(SignInRefused) as error:
                portal.services.accounts.sign_in(name, "wrong password", address=name, browser="")
            said.append((type(error.value), str(error.value)))
        assert said[-1][0] is TooManyAttempts
        return said

    assert refused(anna.name) == refused("unknown@example.com")


# A whole portal, as an operator starts it: behind a trusted proxy, with its log files


@pytest.fixture(scope="module")
def operated(tmp_path_factory):
    portal = PortalProcess(
        tmp_path_factory.mktemp("operated"),
        PORTAL_ENGINE_AUTOSTART="false",
        PORTAL_OFFLINE="1",
        PORTAL_LANGUAGE="en",
        PORTAL_TRUSTED_PROXIES="127.0.0.1",
    )
    portal.start(timeout_s=180)
    yield portal
    portal.stop()


def test_the_first_administrator_comes_by_the_printed_link_and_nobody_after(operated):
    link = operated.first_admin_link()
    path = httpx.URL(link).path
    assert browser(operated.url).get("/auth/link/" + "x" * 43).status_code == 410  # no guessing, not even at home
    admin = become_first_admin(operated.url, link, "Root@Example.com", PASSWORD)
    assert admin.get("/people", headers=PAGE).status_code == 200
    late = browser(operated.url)
    assert late.get(path).status_code == 410
    assert late.post(path, data={"name": "mallory", "password": PASSWORD, "again": PASSWORD}).status_code == 400
    people = operated.cli("users", "list")["users"]
    assert [(person["name"], person["roles"]) for person in people] == [("root@example.com", ["admin", "user"])]
    operated.stop()
    operated.start(timeout_s=180)
    assert operated.first_admin_link() == link  # none was printed for a portal that has somebody


def test_behind_a_trusted_proxy_the_cookie_is_secure_and_the_address_the_visitors(operated):
    made = operated.cli("users", "add", "proxied", "--role", "auditor")
    client = browser(operated.url)
    set_password(client, httpx.URL(made["link"]).path, PASSWORD)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    answer = sign_in(client, "proxied", PASSWORD, headers=forwarded | {"Origin": operated.url})
    assert "secure" in session_cookie(answer).lower().split("; ")
    plain = sign_in(browser(operated.url), "proxied", PASSWORD)
    assert "secure" not in session_cookie(plain).lower().split("; ")
    events = operated.cli("audit", "search", "--action", "sign_in")["events"]
    assert "203.0.113.9" in {event["address"] for event in events}


def test_no_one_time_link_and_no_password_is_in_a_log_file(operated):
    made = operated.cli("users", "add", "logged", "--role", "user")
    token = made["link"].rsplit("/", 1)[1]
    client = browser(operated.url)
    client.get(f"/auth/link/{token}")
    client.get(f"/auth/link/{token}/x")
    client.get(f"/documents/auth/link/{token}", headers=PAGE)
    set_password(client, f"/auth/link/{token}", "a very secret password")
    sign_in(client, "logged", "a very secret password")
    secrets = [token, "a very secret password", client.cookies[SESSION_COOKIE]]
    files = [path for path in operated.home.rglob("*") if path.is_file()]
    assert [path for path in files if path.suffix == ".log"]
    found = {path.name for path in files for secret in secrets if secret.encode() in path.read_bytes()}
    assert found == set()
