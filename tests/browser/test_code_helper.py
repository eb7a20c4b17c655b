"""Code Helper in a real browser, with a fake engine and the real sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ADMIN, PASSWORD, PATIENCE_MS
from tests.portal_process import PortalProcess
from tests.signing_in import become_first_admin

SLOW_MS = 90_000
REPLY = """## What it does
Adds two numbers, **and nothing else**.
## Code
```python
def add(a: int, b: int) -> int:
    \"\"\"The sum.\"\"\"
    return a + b
```
## Tests
```python
def test_sum():
    assert add(1, 2) == 3

def test_zero():
    assert add(0, 0) == 0

def test_wrong_on_purpose():
    assert add(2, 2) == 5
```
## Notes
- Only for whole numbers.
"""


class PortalThatWritesCode(PortalProcess):
    command = (
        *("-m", "tests.browser.portal_with_fake_engine", "--reply", REPLY),
        *("--load-seconds", "0", "--first-token-seconds", "1", "--token-seconds", "0.02"),
    )


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalProcess]:
    process = PortalThatWritesCode(tmp_path_factory.mktemp("code"), PORTAL_OFFLINE="1", PORTAL_LANGUAGE="en")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def session_cookie(portal: PortalProcess) -> dict:
    signed_in = become_first_admin(portal.url, portal.first_admin_link(), ADMIN, PASSWORD)
    value = signed_in.cookies["zhiku_session"]
    signed_in.close()
    portal.wait_for_engine("ready", 60)
    return {"name": "zhiku_session", "value": value, "url": portal.url, "httpOnly": True, "sameSite": "Strict"}


def test_a_requirement_becomes_code_whose_tests_were_run_and_survives_a_reload(
    portal: PortalProcess, page: Page
) -> None:
    _ask(page, portal, "Write add(a, b).")
    expect(page.get_by_text("repairing…")).to_be_visible(timeout=SLOW_MS)
    answer = page.get_by_test_id("stChatMessage").last
    expect(answer.get_by_text("How this answer was made")).to_be_visible(timeout=SLOW_MS)
    expect(answer.get_by_text("1 of 3 tests failed")).to_be_visible()
    page.reload()
    answer = page.get_by_test_id("stChatMessage").last
    expect(answer.get_by_text("1 of 3 tests failed")).to_be_visible()
    with page.expect_download() as download:
        answer.get_by_role("button", name="test_add.py").click()
    assert download.value.suggested_filename == "test_add.py"
    assert "add(2, 2) == 5" in Path(download.value.path()).read_text()


def test_code_is_explained_without_a_word_and_the_field_is_empty_after(portal: PortalProcess, page: Page) -> None:
    page.goto(f"{portal.url}/code_helper")
    page.get_by_role("radio", name="Explain").click()
    field = page.get_by_role("textbox", name="Code", exact=True)
    field.fill("def add(a, b): return a + b")
    field.press("Control+Enter")
    page.locator(".st-key-code_send button").click()
    answer = page.get_by_test_id("stChatMessage").last
    expect(answer.get_by_text("How this answer was made")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_test_id("stChatMessage").first.get_by_text("Given code, lines: 1")).to_be_visible()
    page.get_by_text("The code to work on").click()
    expect(page.get_by_role("textbox", name="Code", exact=True)).to_have_value("")


def test_stop_keeps_what_was_written(portal: PortalProcess, page: Page) -> None:
    _ask(page, portal, "Write add(a, b) once more.")
    expect(page.get_by_text("Adds two numbers")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Stop script").click()
    expect(page.get_by_text("Stopped before the end.")).to_be_visible(timeout=PATIENCE_MS)


def test_an_answer_fits_a_telephone(portal: PortalProcess, browser: Browser, session_cookie: dict) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-US")
    context.add_cookies([session_cookie])
    page = context.new_page()
    _ask(page, portal, "Write add(a, b).")
    page.get_by_text("How this answer was made").wait_for(timeout=SLOW_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def _ask(page: Page, portal: PortalProcess, words: str) -> None:
    page.goto(f"{portal.url}/code_helper")
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(words)
    box.press("Enter")
