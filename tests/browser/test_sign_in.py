"""Signing in, inviting, closing an account, and the record of it, in a real browser."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import ADMIN, PASSWORD
from tests.portal_process import PortalProcess

SLOW_MS = 60_000


def test_a_deep_link_leads_through_the_sign_in_and_back(portal: PortalProcess, session_cookie, stranger) -> None:
    page = stranger.new_page()
    page.goto(f"{portal.url}/documents?x=1")
    assert "/auth/sign-in" in page.url
    _sign_in(page, ADMIN, "not the password")
    expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong")
    _sign_in(page, ADMIN, PASSWORD)
    expect(page.get_by_role("heading", name="Documents")).to_be_visible(timeout=SLOW_MS)
    page.reload()
    expect(page.get_by_role("heading", name="Documents")).to_be_visible()
    another_tab = stranger.new_page()
    another_tab.goto(portal.url)
    expect(another_tab.get_by_role("heading", name="Ask what your company knows")).to_be_visible()


def test_signing_out_ends_the_session_in_every_tab(portal: PortalProcess, session_cookie, stranger) -> None:
    page, other = stranger.new_page(), stranger.new_page()
    page.goto(portal.url)
    _sign_in(page, ADMIN, PASSWORD)
    expect(page.get_by_role("heading", name="Ask what your company knows")).to_be_visible(timeout=SLOW_MS)
    other.goto(portal.url)
    expect(other.get_by_role("heading", name="Ask what your company knows")).to_be_visible()
    page.get_by_test_id("stSidebar").get_by_role("button", name="li.na").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/auth/sign-in*")
    other.get_by_test_id("stSidebar").get_by_text("中文").click()
    other.wait_for_url("**/auth/sign-in*")


def test_an_invited_person_sets_a_password_and_loses_the_open_tab_when_disabled(
    portal: PortalProcess, page: Page, stranger: BrowserContext
) -> None:
    link = _invite(page, portal, "wang.wu")
    theirs = stranger.new_page()
    theirs.goto(link)
    theirs.get_by_label("Password", exact=True).fill(PASSWORD)
    theirs.get_by_label("Password once more").fill(PASSWORD)
    theirs.get_by_role("button", name="Set password").click()
    expect(theirs.get_by_text("Your password is set")).to_be_visible()
    _sign_in(theirs, "Wang.Wu", PASSWORD)
    expect(theirs.get_by_role("heading", name="Ask what your company knows")).to_be_visible(timeout=SLOW_MS)
    expect(theirs.get_by_test_id("stSidebar").get_by_role("link", name="People")).to_have_count(0)

    assert portal.cli("users", "disable", "wang.wu")["disabled"]
    theirs.get_by_test_id("stSidebar").get_by_text("中文").click()
    theirs.wait_for_url("**/auth/sign-in*")
    _sign_in(theirs, "wang.wu", PASSWORD)
    expect(theirs.get_by_role("alert")).to_contain_text("Name or password is wrong")


def test_an_auditor_finds_verifies_and_exports_the_record(
    portal: PortalProcess, session_cookie, stranger: BrowserContext, tmp_path: Path
) -> None:
    page = stranger.new_page()
    page.goto(portal.cli("users", "add", "auditor", "--role", "auditor")["link"])
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password once more").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    _sign_in(page, "auditor", PASSWORD)
    page.get_by_test_id("stSidebar").get_by_role("link", name="Audit").click(timeout=SLOW_MS)
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()

    page.get_by_role("button", name="Verify").click()
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_role("button", name="Verify").click()
    expect(dialog.get_by_text("The record is whole")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    page.get_by_role("button", name="Export").click()
    dialog.get_by_role("button", name="Make the file").click()
    with page.expect_download() as download:
        dialog.get_by_role("button", name="Download").click()
    download.value.save_as(tmp_path / "audit.zip")
    with zipfile.ZipFile(tmp_path / "audit.zip") as archive:
        assert "verify_export.py" in archive.namelist()


def test_what_one_may_not_see_is_refused_with_a_way_home(portal: PortalProcess, page: Page) -> None:
    page.goto(f"{portal.url}/audit")
    expect(page.get_by_text("You may not do this.")).to_be_visible()
    page.get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="Ask what your company knows")).to_be_visible()


@pytest.mark.parametrize("path", ["auth/sign-in"])
def test_the_forms_fit_a_telephone(portal: PortalProcess, stranger: BrowserContext, path: str) -> None:
    page = stranger.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{portal.url}/{path}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def _sign_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()


def _invite(page: Page, portal: PortalProcess, name: str) -> str:
    """On the People page; the one-time link that is shown."""
    page.goto(f"{portal.url}/people")
    page.get_by_role("button", name="Invite").click()
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_label("Name to sign in with").fill(name)
    dialog.get_by_role("button", name="Make the account").click()
    shown = dialog.get_by_test_id("stCode")
    expect(shown).to_contain_text("/auth/link/")
    return shown.inner_text().strip()
