"""One portal and one Chromium for all browser tests; a page of its own for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.portal_process import PortalProcess
from tests.signing_in import become_first_admin

REPLY = "The canteen serves lunch from 11:40. It also sells rockets on 31 February."
PATIENCE_MS = 30_000  # two cores, and other tests beside
ADMIN, PASSWORD = "li.na@example.com", "correct horse staple"
PROMPT_READING_S, TOKEN_S = "6", "0.05"  # long enough to be seen on a busy machine


class PortalWithFakeEngine(PortalProcess):
    command = (
        *("-m", "tests.browser.portal_with_fake_engine", "--reply", REPLY),
        *("--load-seconds", "2", "--first-token-seconds", PROMPT_READING_S, "--token-seconds", TOKEN_S),
    )


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    process = PortalWithFakeEngine(
        tmp_path_factory.mktemp("home"),
        PORTAL_OFFLINE="1",
        PORTAL_LANGUAGE="en",
        PORTAL_REFUSAL_THRESHOLD="0",  # these tests are about screens, not about what is good enough
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "Browser tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def session_cookie(portal: PortalProcess) -> dict:
    """Of the first administrator, who used the printed link and signed in: as a browser stores it."""
    signed_in = become_first_admin(portal.url, portal.first_admin_link(), ADMIN, PASSWORD)
    value = signed_in.cookies["zhiku_session"]
    signed_in.close()
    return {"name": "zhiku_session", "value": value, "url": portal.url, "httpOnly": True, "sameSite": "Strict"}


@pytest.fixture
def stranger(browser: Browser) -> Iterator[BrowserContext]:
    """A browser in which nobody is signed in."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def context(browser: Browser, session_cookie: dict) -> Iterator[BrowserContext]:
    """The first administrator's browser."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-US")
    context.add_cookies([session_cookie])
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, portal: PortalProcess) -> Iterator[Page]:
    """A page that must not have asked anyone but the portal for anything."""
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    own = (portal.url, portal.url.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []


@pytest.fixture(scope="session")
def canteen_pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pages; the answer to "When is lunch?" is on the second."""
    from reportlab.pdfgen.canvas import Canvas

    path = tmp_path_factory.mktemp("files") / "canteen.pdf"
    canvas = Canvas(str(path))
    for text in (
        "Rules of the canteen. This booklet is for all employees of the plant and for their visitors.",
        "Opening hours. The canteen serves lunch from 11:40 to 13:10 on every working day.",
        "Prices. A meal costs 12 yuan and is paid by card. Cash is not accepted at the tills.",
    ):
        canvas.drawString(60, 780, text)
        canvas.showPage()
    canvas.save()
    return path
