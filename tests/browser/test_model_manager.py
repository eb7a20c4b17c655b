"""The Model Manager in a real browser, with the real services and the fake engine."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.portal_process import PortalProcess

SLOW_MS = 90_000
OLD, NEW = "Qwen2.5-Coder 0.5B Instruct", "SmolLM2 135M Instruct"


def test_a_switch_is_seen_in_every_tab_to_its_end_and_rolled_back(
    portal: PortalProcess, page: Page, context: BrowserContext
) -> None:
    other = context.new_page()
    for tab in (page, other):
        _open(tab, portal)
    _order(page, NEW)
    expect(other.get_by_text(re.compile(f"switching to {NEW}", re.IGNORECASE)).first).to_be_visible(timeout=SLOW_MS)
    for tab in (page, other):
        expect(tab.get_by_text(f"Chat is served by {NEW} now")).to_be_visible(timeout=SLOW_MS)
        expect(_card(tab, "chat").get_by_text(NEW)).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text(f"Chat is served by {NEW} now")).to_have_count(0)
    _roll_back(page)


def test_typing_in_the_dialog_survives_what_refreshes_behind_it(portal: PortalProcess, page: Page) -> None:
    _open(page, portal)
    _card(page, "chat").get_by_role("button", name="Switch").click()
    dialog = page.get_by_test_id("stDialog")
    context_tokens = dialog.get_by_label("Context, tokens", exact=True)
    context_tokens.fill("2048")
    context_tokens.press("Tab")
    expect(dialog.get_by_text("What will happen")).to_be_visible()
    page.wait_for_timeout(12_000)  # the cards refresh every 5 s
    expect(context_tokens).to_have_value("2048")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_log_is_searched_and_downloaded(portal: PortalProcess, page: Page) -> None:
    _open(page, portal)
    page.locator(".st-key-log-chat button").first.click()
    dialog = page.get_by_test_id("stDialog")
    search = dialog.get_by_label("Find in the log", exact=True)
    search.fill("no such words")
    search.press("Enter")
    expect(dialog.get_by_text("No line has these words")).to_be_visible()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.endswith(".log")


def test_the_catalogue_is_searched(portal: PortalProcess, page: Page) -> None:
    _open(page, portal)
    box = page.get_by_label("Find a model", exact=True)
    box.fill("llava")
    box.press("Enter")
    expect(page.locator("[class*=st-key-entry-]")).to_have_count(1)
    expect(page.get_by_text("Commercial use with conditions").first).to_be_visible()


def test_a_model_is_verified(portal: PortalProcess, page: Page) -> None:
    _open(page, portal)
    page.locator(".st-key-more-smollm2-135m-instruct button").first.click()
    page.get_by_role("button", name="Verify").click()
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_role("button", name="Verify now").click()
    expect(dialog.get_by_text("Every byte is as it should be")).to_be_visible()


def test_the_page_fits_a_telephone(portal: PortalProcess, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    _open(page, portal)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def _open(page: Page, portal: PortalProcess) -> None:
    page.goto(f"{portal.url}/model_manager")
    expect(_card(page, "chat").get_by_text(re.compile("Ready$"))).to_be_visible(timeout=SLOW_MS)


def _card(page: Page, role: str) -> Locator:
    return page.locator(f".st-key-role-{role}")


def _order(page: Page, model: str) -> None:
    _card(page, "chat").get_by_role("button", name="Switch").click()
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_test_id("stSelectbox").first.locator("input").click()
    page.get_by_role("option", name=re.compile(model)).first.click()
    expect(dialog.get_by_text("What will happen")).to_be_visible()
    dialog.locator(".st-key-switch_now button").click()
    expect(dialog).to_have_count(0)


def _roll_back(page: Page) -> None:
    _card(page, "chat").get_by_role("button", name="Roll back").click(timeout=SLOW_MS)
    dialog = page.get_by_test_id("stDialog")
    expect(dialog.get_by_text(OLD).first).to_be_visible()
    dialog.locator(".st-key-back_now button").click()
    expect(page.get_by_text(f"Chat is served by {OLD} now")).to_be_visible(timeout=SLOW_MS)
