"""Every real document of the evaluation set is read, or refused with its reason."""

from __future__ import annotations

import contextlib
import csv
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from services.documents import child
from services.documents.preview import Preview
from services.errors import BadInput, NotFound, PasswordNeeded, PortalError, ReadingLimit, UnsupportedFormat
from services.permissions import CONSOLE
from tests.documents_setup import EVAL_DIR, set_up

DOCUMENTS = EVAL_DIR / "documents"
with (DOCUMENTS / "manifest.csv").open(encoding="utf-8") as manifest:
    ROWS = list(csv.DictReader(manifest))
REFUSALS = {
    "ocr": {"NoTextLayer"},
    "password": {"PasswordNeeded"},
    "corrupt": {"CorruptFile"},
    "empty": {"EmptyFile"},
    "garbage": {"GarbageText"},
    "bomb": {"ReadingLimit", "FileTooLarge", "NoTextLayer"},
    "drm": {"UnsupportedFormat"},
    "reject-or-text": {"UnsupportedFormat"},
}
# Left out on purpose: contents pages that repeat the outline, running headers, hidden text, field codes; text boxes
# that the file holds twice.
CHARACTERS_FOUND = {
    "debian__debian-reference.zh-cn.pdf": 0.8,
    "docling__invisible_text_layer.pdf": 0.4,
    "docling__textbox.docx": 0.4,
    "tika__testExternalRefs.docx": 0.1,
    "tika__testInstrLink.docx": 0.75,
    "ocr__multipage.pdf": 0.8,
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    setup = set_up(tmp_path_factory.mktemp("home"))
    yield setup
    setup.close()


def outcome(setup, path: Path) -> tuple[str, object]:
    """("text", document) or (kind of the refusal, document or None)."""
    try:
        document = setup.ingest(path, path.name)
    except PortalError as error:
        return type(error).__name__, None
    return (document.error["kind"] if document.error else "text"), document


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_each_file_is_read_or_refused_as_expected(library, row):
    kind, document = outcome(library, DOCUMENTS / row["file"])
    if row["expected"] == "text":
        assert kind == "text", document.error
        found = sum(len(text) for text, _, _ in library.texts(document.id))
        assert found >= CHARACTERS_FOUND.get(row["file"], 0.85) * int(row["text_chars"])
        if row["pages"]:
            assert document.pages_total == int(row["pages"])
    elif row["expected"] != "any":
        assert kind in REFUSALS[row["expected"]]


@pytest.mark.parametrize("row", [row for row in ROWS if row["password"]], ids=lambda row: row["file"])
def test_a_password_opens_a_protected_file_and_is_asked_again_when_wrong(library, row):
    document = library.ingest(DOCUMENTS / row["file"], row["file"])
    with pytest.raises(PasswordNeeded):
        library.library.retry(document.id, CONSOLE)
    with pytest.raises(PasswordNeeded):
        library.library.retry(document.id, CONSOLE, "wrong")
    library.library.retry(document.id, CONSOLE, row["password"].strip("'"))
    assert library.queue.wait_askable(document.id, 60)
    assert library.texts(document.id)
    if document.format == "pdf":
        assert (
            Preview(library.library, library.audit, library.settings).page_image(document, 1, [], CONSOLE)[1:4]
            == b"PNG"
        )


def test_a_password_can_come_with_the_upload(tmp_path):
    setup = set_up(tmp_path)
    path = DOCUMENTS / "pypdf__libreoffice-writer-password.pdf"
    assert setup.ingest(path, password="wrong").error["kind"] == "PasswordNeeded"
    assert setup.ingest(path, password="openpassword").error is None
    setup.library.delete(setup.library.list(CONSOLE)[0].id, CONSOLE)
    assert setup.files() == []
    setup.close()


def test_pages_and_headings_of_a_long_chinese_manual_are_exact(library):
    _, document = outcome(library, DOCUMENTS / "debian__debian-reference.zh-cn.pdf")
    [(text, segments, heading_path)] = [
        entry for entry in library.texts(document.id) if "引导加载程序是启动过程的第二阶段" in entry[0]
    ]
    assert segments[0] == [101, 0]
    assert heading_path[-1] == "3.1.2 第二阶段：引载加载程序"
    assert "并将控制权交给它们" in text  # joined over the line break without a space
    assert "73 / 223" not in text  # the running header


def test_a_chunk_over_a_page_break_knows_both_pages(library):
    _, document = outcome(library, DOCUMENTS / "docling__multi_page.pdf")
    pages = [[page for page, _ in segments] for _, segments, _ in library.texts(document.id)]
    assert [1, 2] in pages
    assert sorted({page for chunk in pages for page in chunk}) == [1, 2, 3, 4, 5]


def test_invisible_text_is_left_out_and_noted(library):
    _, document = outcome(library, DOCUMENTS / "docling__invisible_text_layer.pdf")
    assert [text for text, _, _ in library.texts(document.id)] == ["Visible heading line"]
    assert "invisible" in document.notes[0]["message"]


def test_scanned_pages_among_others_are_named(library):
    _, document = outcome(library, DOCUMENTS / "ocr__multipage.pdf")
    assert document.notes[0]["params"]["pages"] == "1, 2, 3, 5, 6"


def test_word_text_is_found_where_word_hides_it(library):
    _, document = outcome(library, DOCUMENTS / "tika__testWORD_various.docx")
    text = "\n".join(text for text, _, _ in library.texts(document.id))
    for expected in ("Here is a text box", "This is a footnote", "Row 2 Col 1", "Header", "Footer"):
        assert expected.lower() in text.lower()
    assert text.count("Here is a text box") == 1  # the fallback for old programs repeats it


def test_word_headings_and_numbers_make_the_path(library):
    _, document = outcome(library, DOCUMENTS / "docling__unit_test_headers_numbered.docx")
    assert ["1. Section 1", "1.2. Section 1.2", "1.2.1. Section 1.2.3"] in [p for _, _, p in library.texts(document.id)]


def test_the_reading_child_has_no_network(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            "import socket; from services.documents import limits;"
            "limits.apply(limits.Limits(memory_mib=512, cpu_s=10, file_mib=1));"
            f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=5)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=child.PROJECT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "unreachable" in done.stderr or "no network here" in done.stderr


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"reading_memory_mib": 200}, "memory"), ({"reading_timeout_s": 0.5}, "seconds")],
    ids=["memory", "time"],
)
def test_a_reader_over_its_limit_costs_only_its_file(tmp_path, limits, reason):
    setup = set_up(tmp_path, **limits)
    document = setup.ingest(DOCUMENTS / "debian__debian-reference.en.pdf")
    assert document.error["kind"] == ReadingLimit.__name__
    assert reason in PortalError.from_record(document.error).message
    assert setup.counts()["chunks"] == 0
    setup.close()


def test_a_page_is_drawn_with_the_quote_marked(library):
    _, document = outcome(library, DOCUMENTS / "docling__multi_page.pdf")
    preview = Preview(library.library, library.audit, library.settings)
    plain = preview.page_image(document, 1, [], CONSOLE)
    quote = "The concept of the word processor predates modern computers and has evolved through several milestones"
    marked = preview.page_image(document, 1, [quote], CONSOLE)
    assert plain[1:4] == b"PNG"
    assert yellow(marked) > 5000 > 10 >= yellow(plain)
    assert preview.page_image(document, 1, [quote], CONSOLE) == marked
    with pytest.raises(NotFound):
        preview.page_image(document, 6, [], CONSOLE)


def yellow(png: bytes) -> int:
    import io

    from PIL import Image

    pixels = Image.open(io.BytesIO(png)).convert("RGB").getcolors(maxcolors=1 << 24)
    return sum(count for count, (red, green, blue) in pixels if red > 200 and green > 200 and blue < 120)


def test_a_page_with_a_monstrous_picture_cannot_harm_the_portal(library):
    _, document = outcome(library, DOCUMENTS / "ocr__hugemono.pdf")
    preview = Preview(library.library, library.audit, library.settings)
    with contextlib.suppress(ReadingLimit):
        assert preview.page_image(document, 1, [], CONSOLE)[1:4] == b"PNG"


def test_cached_pages_stay_within_their_room(tmp_path):
    setup = set_up(tmp_path, preview_cache_mib=0)
    document = setup.ingest(DOCUMENTS / "docling__multi_page.pdf")
    preview = Preview(setup.library, setup.audit, setup.settings)
    for page in (1, 2, 3):
        preview.page_image(document, page, [], CONSOLE, width_px=200)
    assert len(list(setup.settings.previews_dir.iterdir())) == 1
    setup.close()


def test_a_word_passage_shows_its_paragraphs_with_the_quote_marked(library):
    _, document = outcome(library, DOCUMENTS / "tika__014760.docx")
    chunk_id = library.rows("SELECT id FROM chunks WHERE document_id = ? AND ordinal = 3", document.id)[0][0]
    preview = Preview(library.library, library.audit, library.settings)
    text = preview.passage(chunk_id, CONSOLE).text
    quote = text[20:80].upper().replace(" ", "\n")
    paragraphs = preview.passage(chunk_id, CONSOLE, [quote]).paragraphs
    shown = "".join(p.text[start:end] for p in paragraphs for start, end in p.marked)
    assert "".join(shown.split()) == "".join(text[20:80].split())
    with pytest.raises(BadInput):
        preview.page_image(document, 1, [], CONSOLE)


def test_a_legacy_word_file_is_refused_with_the_way_out(library):
    with pytest.raises(UnsupportedFormat) as refusal:
        library.add(DOCUMENTS / "tika__testWORD.doc", "old.doc")
    assert "DOCX" in refusal.value.hint


def test_messages_of_the_child_survive_any_text():
    message = json.loads(json.dumps({"chunk": "\ud800\u2028"}, ensure_ascii=False).encode("utf-8", "replace"))
    assert message["chunk"].endswith("\u2028")
