"""The README's pictures, taken of a running portal: `python -m tests.browser.screenshots http://127.0.0.1:8501 NAME`.

NAME has the roles user, admin and auditor; the password is the third argument or stands in SCREENSHOTS_PASSWORD.
Asks one question in each language; the chat model should be ready. Pictures go to docs/screenshots/.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, StorageState, sync_playwright

TARGET = Path("docs/screenshots")
DESK, TELEPHONE = (1440, 900), (390, 844)
QUESTIONS = {"en-US": "What does VPN error E305 mean?", "zh-CN": "未休完的年休假最多可以结转几天？"}
ANSWER_MS = 240_000


def main(url: str, name: str, password: str) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        visit = Visit(browser, url, _signed_in(browser, url, name, password))
        _take(visit.open("", "zh-CN", DESK), "home-zh")
        _take(visit.open("documents", "en-US", DESK), "documents-en")
        page = visit.asked("zh-CN", DESK)
        _take(page, "ask-zh")
        page.locator("[class*=st-key-source-] button").first.click()
        page.get_by_test_id("stDialog").get_by_role("img").wait_for()
        page.wait_for_timeout(1500)
        _take(page, "source-zh")
        _take(visit.asked("en-US", DESK, scheme="dark"), "ask-dark-en")
        _take(visit.open(page.url.removeprefix(url), "zh-CN", TELEPHONE), "ask-phone-zh")
        _take(visit.open("audit", "en-US", DESK), "audit-en")
        _take(visit.open("model_manager", "en-US", DESK), "models-en")
        page = visit.open("model_manager", "zh-CN", DESK)
        page.locator(".st-key-switch-chat button").first.click()
        page.get_by_test_id("stDialog").get_by_role("combobox").first.wait_for()
        page.wait_for_timeout(1500)
        _take(page, "models-switch-zh")
        browser.close()


def _signed_in(browser: Browser, url: str, name: str, password: str) -> StorageState:
    """The cookies of somebody who signed in by the form."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/auth/sign-in")
    page.locator("#name").fill(name)
    page.locator("#password").fill(password)
    page.locator("form button").click()
    page.get_by_test_id("stSidebar").wait_for()
    state = context.storage_state()
    context.close()
    return state


@dataclass(frozen=True)
class Visit:
    """The portal as one signed-in person sees it, in any language and on any screen."""

    browser: Browser
    url: str
    state: StorageState

    def open(self, path: str, locale: str, size: tuple[int, int], scheme: str = "light") -> Page:
        width, height = size
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            locale=locale,
            color_scheme=scheme,
            timezone_id="Asia/Shanghai",
            storage_state=self.state,
        )
        page = context.new_page()
        page.goto(f"{self.url}/{path.lstrip('/')}")
        page.get_by_role("heading", level=1).wait_for()
        _speak(page, locale)
        page.wait_for_timeout(2500)
        return page

    def asked(self, locale: str, size: tuple[int, int], scheme: str = "light") -> Page:
        page = self.open("ask_docs", locale, size, scheme)
        box = page.get_by_test_id("stChatInputTextArea")
        box.fill(QUESTIONS[locale])
        box.press("Enter")
        page.locator("[class*=st-key-again-]").wait_for(timeout=ANSWER_MS)
        page.wait_for_timeout(1500)
        return page


def _speak(page: Page, locale: str) -> None:
    """The language was perhaps chosen before, and choices are remembered."""
    name = {"zh-CN": "中文", "en-US": "English"}[locale]
    switch = page.get_by_role("radio", name=name)
    if switch.is_visible():
        switch.click()
        page.wait_for_timeout(1500)


def _take(page: Page, name: str) -> None:
    """Few colours are enough for a screen: the files stay small."""
    path = TARGET / f"{name}.png"
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(sys.argv[3:] or [os.environ["SCREENSHOTS_PASSWORD"]]))
