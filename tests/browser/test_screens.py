"""The way of a person through the portal, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.portal_process import PortalProcess

SLOW_MS = 60_000  # ingestion and answers, on a busy machine


def test_a_deep_link_on_a_cold_server_has_the_frame_of_every_page(portal: PortalProcess, page: Page) -> None:
    """First of all tests: nobody opened Home.py in this process yet."""
    page.goto(f"{portal.url}/documents")
    expect(page.get_by_role("heading", name="Documents")).to_be_visible()
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_role("link")).to_have_count(6)
    sidebar.get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="Ask what your company knows")).to_be_visible()


def test_the_badge_follows_the_engine_without_a_reload(portal: PortalProcess, page: Page) -> None:
    page.goto(portal.url)
    expect(page.get_by_test_id("stSidebar").get_by_text("Ready: ")).to_be_visible(timeout=SLOW_MS)


def test_upload_progress_ask_citation_page_image_and_reload(
    portal: PortalProcess, page: Page, canteen_pdf: Path
) -> None:
    _upload(page, portal, canteen_pdf)
    expect(page.get_by_text("They are being read now")).to_be_visible()
    card = page.get_by_test_id("stMain").get_by_text("canteen.pdf")
    expect(card.first).to_be_visible()
    page.get_by_text("3 pages").wait_for(timeout=SLOW_MS)

    _ask(page, portal, "When does the canteen serve lunch?")
    answer = page.get_by_test_id("stChatMessage").last
    expect(answer.get_by_role("button", name="Page 2")).to_be_visible(timeout=SLOW_MS)
    expect(answer.get_by_text("not backed by the documents")).to_be_visible()
    answer.get_by_role("button", name="Page 2").click()
    dialog = page.get_by_test_id("stDialog")
    expect(dialog.get_by_role("img", name="Page 2 of canteen.pdf")).to_be_visible(timeout=SLOW_MS)
    dialog.get_by_role("button", name="Next page").click()
    expect(dialog.get_by_role("img", name="Page 3 of canteen.pdf")).to_be_visible(timeout=SLOW_MS)

    page.reload()
    expect(page.get_by_text("The canteen serves lunch from 11:40.").first).to_be_visible()
    expect(page.get_by_role("button", name="Page 2").first).to_be_visible()


def test_stop_works_while_the_model_still_reads_its_prompt(portal: PortalProcess, page: Page) -> None:
    _ask(page, portal, "When does the canteen serve lunch?")
    expect(page.get_by_text("Reading the passages")).to_be_visible()
    page.get_by_role("button", name="Stop script").click()
    expect(page.get_by_text("Stopped before the end.")).to_be_visible()
    expect(page.get_by_test_id("stChatInputTextArea")).to_be_enabled()


def test_one_bad_file_does_not_harm_the_others(portal: PortalProcess, page: Page, tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").write_bytes(b"")
    (tmp_path / "notes.pdf").write_text("only text")
    (tmp_path / "good.docx").write_bytes((Path("samples") / "safety-and-it-guide.docx").read_bytes() + b" ")
    _upload(page, portal, *tmp_path.iterdir())
    expect(page.get_by_text("Added: 1.")).to_be_visible()
    expect(page.get_by_text("The file is empty.")).to_be_visible()
    expect(page.get_by_text("neither a PDF nor a Word")).to_be_visible()


def test_a_deletion_is_asked_about_and_then_done(portal: PortalProcess, page: Page, tmp_path: Path) -> None:
    (tmp_path / "short-lived.docx").write_bytes((Path("samples") / "safety-and-it-guide.docx").read_bytes() + b"  ")
    _upload(page, portal, tmp_path / "short-lived.docx")
    title = page.locator("strong", has_text="short-lived.docx")
    expect(title).to_be_visible()
    page.locator("[class*=st-key-menu-] button").first.click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_test_id("stDialog").get_by_role("button", name="Delete").click()
    expect(title).to_have_count(0)


def test_a_conversation_is_deleted_after_the_question(portal: PortalProcess, page: Page) -> None:
    _ask(page, portal, "Which quartz goes into the oven?")
    page.locator(".st-key-conversation-menu button").first.click()
    page.get_by_role("button", name="Delete conversation").click()
    page.get_by_test_id("stDialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("For example")).to_be_visible()
    expect(page.get_by_text("Which quartz goes into the oven?")).to_have_count(0)
    assert "c=" not in page.url


def test_the_language_is_remembered(portal: PortalProcess, page: Page) -> None:
    page.goto(portal.url)
    try:
        page.get_by_role("radio", name="中文").click()
        expect(page.get_by_role("heading", name="公司的知识，一问便知")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="公司的知识，一问便知")).to_be_visible()
    finally:
        page.get_by_role("radio", name="English").click()
        expect(page.get_by_role("heading", name="Ask what your company knows")).to_be_visible()


@pytest.mark.parametrize("path", ["", "ask_docs", "code_helper", "documents", "model_manager", "people", "account"])
def test_nothing_is_wider_than_a_telephone(portal: PortalProcess, page: Page, path: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{portal.url}/{path}")
    page.get_by_role("heading", level=1).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def _ask(page: Page, portal: PortalProcess, question: str) -> None:
    page.goto(f"{portal.url}/ask_docs")
    box = page.get_by_test_id("stChatInputTextArea")
    box.fill(question)
    box.press("Enter")


def _upload(page: Page, portal: PortalProcess, *files: Path) -> None:
    page.goto(f"{portal.url}/documents")
    page.set_input_files("input[type=file]", files)
    chips = page.get_by_test_id("stFileChip")
    expect(chips).to_have_count(len(files))
    page.get_by_test_id("stFormSubmitButton").get_by_role("button", name="Add").click()
    expect(chips).to_have_count(0)
