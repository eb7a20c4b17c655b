"""The library and its queue under bad input, many users, full disks and kills."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from services.documents import child
from services.errors import Denied, EmptyFile, FileTooLarge, NotFound, StorageFull, UnsupportedFormat
from services.permissions import CONSOLE, Actor, Role
from tests.documents_setup import EVAL_DIR, FakeEmbedder, set_up

DOCUMENTS = EVAL_DIR / "documents"
MULTI_PAGE = DOCUMENTS / "docling__multi_page.pdf"
MANUAL = DOCUMENTS / "debian__maint-guide.zh-cn.pdf"
MIB = 1 << 20
TYPES = (
    '<Types><Override PartName="/word/document.xml" ContentType="application/'
    'vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
NAMESPACE = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


@pytest.fixture
def setup(tmp_path):
    made = set_up(tmp_path)
    yield made
    made.close()


def word_file(document_xml: bytes) -> io.BytesIO:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("word/document.xml", document_xml)
    packed.seek(0)
    return packed


def paragraphs(*texts: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in texts)
    return f"<w:document {NAMESPACE}><w:body>{body}</w:body></w:document>".encode()


def test_a_document_is_askable_before_it_is_embedded_and_then_complete(tmp_path):
    setup = set_up(tmp_path, embedder=FakeEmbedder(seconds_per_text=0.2))
    document = setup.ingest(MULTI_PAGE, "C:\\docs\\Word processors.pdf")
    assert document.state == "embedding"
    assert document.title == "Word processors.pdf"
    assert setup.lexical.search("typewriter", [setup.collection_id], 5)
    assert setup.queue.wait_idle(60)
    document = setup.library.get(document.id, CONSOLE)
    assert (document.state, document.chunks_done, document.pages_done) == ("ready", document.chunks_total, 5)
    assert len(set(setup.counts().values())) == 1
    assert set(document.timings_ms) >= {"read", "index", "embed", "store"}
    setup.close()


def test_the_same_file_twice_costs_nothing(setup):
    first = setup.ingest(MULTI_PAGE, "a.pdf")
    assert setup.queue.wait_idle(60)
    embedded = len(setup.embedder.texts)
    with MULTI_PAGE.open("rb") as stream:
        assert setup.add(stream, "b.pdf").id == first.id
    assert setup.queue.wait_idle(60)
    assert len(setup.embedder.texts) == embedded
    assert setup.files() == [f"{first.sha256}.pdf"]


def test_a_file_in_two_collections_is_kept_until_both_are_gone(setup):
    first = setup.ingest(MULTI_PAGE)
    other = setup.library.ensure_collection("Other", CONSOLE)
    second = setup.library.add(MULTI_PAGE, "x.pdf", actor=CONSOLE, collection_id=other.id)
    assert setup.queue.wait_idle(60)
    setup.library.delete(first.id, CONSOLE)
    assert setup.library.file_path(second).exists()
    assert set(setup.counts().values()) == {second.chunks_total or setup.library.get(second.id, CONSOLE).chunks_total}
    setup.library.delete(second.id, CONSOLE)
    assert set(setup.counts().values()) == {0}
    assert setup.files() == []


@pytest.mark.parametrize(
    ("content", "refusal"),
    [(b"", EmptyFile), (b"just some notes, renamed", UnsupportedFormat), (b"\x89PNG\r\n\x1a\n", UnsupportedFormat)],
    ids=["zero bytes", "txt renamed pdf", "png renamed pdf"],
)
def test_what_is_no_document_is_refused_and_leaves_nothing(setup, content, refusal):
    with pytest.raises(refusal) as refused:
        setup.add(io.BytesIO(content))
    assert refused.value.hint
    assert setup.files() == []
    assert setup.library.list(CONSOLE) == []


def test_a_600_mb_file_is_refused_from_disk_and_from_a_stream(setup, tmp_path):
    large = tmp_path / "large.pdf"
    with large.open("wb") as file:
        file.write(b"%PDF-1.7\n")
        file.truncate(600 * MIB)
    began_s = time.monotonic()
    with pytest.raises(FileTooLarge):
        setup.add(large)
    assert time.monotonic() - began_s < 1
    with large.open("rb") as stream, pytest.raises(FileTooLarge):
        setup.add(stream)
    assert setup.files() == []


def test_an_upload_that_breaks_off_leaves_nothing(setup):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > MIB:
                raise ConnectionResetError
            return super().read(size)

    with pytest.raises(ConnectionResetError):
        setup.add(Broken(b"%PDF-1.7" + b"x" * 3 * MIB))
    assert setup.files() == []


@pytest.mark.parametrize(
    ("document_xml", "kinds"),
    [
        (paragraphs("x" * 80 * MIB), {"FileTooLarge"}),
        (b'<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><d>&b;</d>', {"CorruptFile"}),
        (f"<w:document {NAMESPACE}><w:body>".encode() + b"<w:sdt>" * 100_000, {"CorruptFile"}),
        (
            f"<w:document {NAMESPACE}><w:body>".encode()
            + b"<w:p><w:r>" * 50_000
            + b"</w:r></w:p>" * 50_000
            + b"</w:body></w:document>",
            {"CorruptFile", "ReadingLimit"},
        ),
        (b"no xml", {"CorruptFile"}),
    ],
    ids=["zip bomb", "entity bomb", "broken nesting", "deep nesting", "not xml"],
)
def test_a_bomb_costs_only_itself(setup, document_xml, kinds):
    bomb = setup.ingest(word_file(document_xml), "bomb.docx")
    good = setup.ingest(word_file(paragraphs("Vacation is 25 days.")), "good.docx")
    assert bomb.error["kind"] in kinds
    assert [text for text, _, _ in setup.texts(good.id)] == ["Vacation is 25 days."]


def test_text_without_end_meets_the_output_limit(tmp_path):
    setup = set_up(tmp_path, reading_output_mib=1)
    texts = [f"Paragraph {number}: " + "some words " * 10 for number in range(20_000)]
    assert setup.ingest(word_file(paragraphs(*texts)), "long.docx").error["kind"] == "ReadingLimit"
    setup.close()


def test_other_zip_files_are_not_word(setup):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("notes.txt", "hello")
    packed.seek(0)
    assert setup.ingest(packed, "notes.docx").error["kind"] == "UnsupportedFormat"


def test_two_hundred_files_at_once(setup):
    for number in range(200):
        setup.add(word_file(paragraphs(f"Rule number {number} of the house.")), f"{number}.docx")
    assert setup.queue.wait_idle(280)
    assert {document.state for document in setup.library.list(CONSOLE)} == {"ready"}
    assert set(setup.counts().values()) == {200}


def test_two_people_adding_the_same_file_get_one_document(setup):
    ids, start = [], threading.Barrier(4)

    def add():
        start.wait()
        ids.append(setup.add(MULTI_PAGE).id)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert setup.queue.wait_idle(60)
    assert len(ids) == 4
    assert len(set(ids)) == 1
    assert len(setup.library.list(CONSOLE)) == 1


@pytest.mark.parametrize("stage", ["reading", "embedding"])
def test_deleting_during_ingestion_leaves_nothing(tmp_path, stage):
    setup = set_up(tmp_path, embedder=FakeEmbedder(seconds_per_text=0.05))
    document = setup.add(MANUAL)
    wait_until(lambda: setup.library.get(document.id, CONSOLE).state == stage)
    setup.library.delete(document.id, CONSOLE)
    assert setup.queue.wait_idle(60)
    setup.queue.close()
    assert set(setup.counts().values()) == {0}
    assert setup.files() == []
    with pytest.raises(NotFound):
        setup.library.get(document.id, CONSOLE)
    setup.close()


def test_a_small_document_does_not_wait_for_a_long_one(tmp_path):
    setup = set_up(tmp_path, embedder=FakeEmbedder(seconds_per_text=0.03))
    long = setup.ingest(MANUAL)
    small = setup.ingest(word_file(paragraphs("Vacation is 25 days.")), "small.docx")
    wait_until(lambda: setup.library.get(small.id, CONSOLE).state == "ready")
    assert setup.library.get(long.id, CONSOLE).state == "embedding"
    setup.close()


def test_no_room_refuses_uploads_and_fails_reading_until_there_is_room(tmp_path):
    setup = set_up(tmp_path, start=False)
    document = setup.add(MULTI_PAGE)
    setup.close()
    full = set_up(tmp_path, disk_reserve_mib=10**9)
    with pytest.raises(StorageFull):
        full.add(MANUAL)
    assert full.queue.wait_idle(30)
    assert full.library.get(document.id, CONSOLE).error["kind"] == "StorageFull"
    full.close()
    roomy = set_up(tmp_path)
    roomy.library.retry(document.id, CONSOLE)
    assert roomy.queue.wait_idle(60)
    assert roomy.library.get(document.id, CONSOLE).state == "ready"
    roomy.close()


ON_A_SMALL_DISK = """
import sys, errno
from pathlib import Path
from services.errors import StorageFull
from services.permissions import CONSOLE
from tests.documents_setup import set_up
home, source = Path(sys.argv[1]), Path(sys.argv[2])
setup = set_up(home, start=False, disk_reserve_mib=0)
content = source.read_bytes()
try:
    for number in range(40):
        (home / "copy.tmp").write_bytes(content + b"%" * number)
        setup.add(home / "copy.tmp")
except StorageFull as error:
    print("full", len(setup.library.list(CONSOLE)), len(setup.files()))
except OSError as error:
    print("full", len(setup.library.list(CONSOLE)), len(setup.files())) if error.errno == errno.ENOSPC else None
"""


def test_a_disk_that_fills_up_keeps_no_half_file(tmp_path):
    script = f'mount -t tmpfs -o size=6m tmpfs "{tmp_path}" && exec "{sys.executable}" -c "$0" "$1" "$2"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(
        [*command, ON_A_SMALL_DISK, str(tmp_path), str(MANUAL)],
        cwd=child.PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    said, documents, files = done.stdout.split() or ("", done.stderr, "")
    assert (said, documents) == ("full", files)
    assert int(files) >= 2


A_PORTAL = """
import sys, time
from pathlib import Path
from tests.documents_setup import FakeEmbedder, set_up
setup = set_up(Path(sys.argv[1]), embedder=FakeEmbedder(seconds_per_text=0.05))
for path in sys.argv[2:]:
    setup.add(Path(path), path)
print("added", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("stage", ["reading", "embedding"])
def test_a_killed_portal_goes_on_where_it_was(tmp_path, stage):
    files = [MANUAL, MULTI_PAGE, DOCUMENTS / "docling__word_tables.docx"]
    command = [sys.executable, "-c", A_PORTAL, str(tmp_path), *map(str, files)]
    portal = subprocess.Popen(command, cwd=child.PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert portal.stdout.readline() == "added\n"
        setup = set_up(tmp_path, start=False)
        wait_until(lambda: caught_at(setup, stage), timeout_s=60)
    finally:
        portal.send_signal(signal.SIGKILL)
        portal.wait()
        portal.stdout.close()
    embedded_before = setup.rows("SELECT count(*) FROM chunks WHERE embedded")[0][0]
    setup.queue.start()
    assert setup.queue.wait_idle(120)
    documents = setup.library.list(CONSOLE)
    assert {document.state for document in documents} == {"ready"}
    counts = setup.counts()
    assert set(counts.values()) == {sum(document.chunks_total for document in documents)}
    assert len(setup.embedder.texts) == counts["chunks"] - embedded_before
    setup.close()


def caught_at(setup, stage: str) -> bool:
    """The long manual is being read, or is embedded in part."""
    [(state, done)] = setup.rows("SELECT state, chunks_done FROM documents WHERE size_bytes = ?", MANUAL.stat().st_size)
    return state == "reading" if stage == "reading" else state == "embedding" and done > 8


def test_a_deletion_that_was_interrupted_is_finished_at_the_next_start(tmp_path):
    setup = set_up(tmp_path)
    document = setup.ingest(MULTI_PAGE)
    assert setup.queue.wait_idle(60)
    setup.queue.close()
    with setup.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE documents SET state = 'deleting'")
    assert setup.library.list(CONSOLE) == []
    setup.close()
    again = set_up(tmp_path)
    wait_until(lambda: not again.rows("SELECT id FROM documents"))
    assert set(again.counts().values()) == {0}
    assert not Path(again.library.file_path(document)).exists()
    again.close()


def test_who_may_not_is_denied_everything(setup):
    auditor = Actor(id="a", name="a", roles=frozenset({Role.AUDITOR}))
    library = setup.library
    for attempt in (
        lambda: library.list(auditor),
        lambda: library.get(1, auditor),
        lambda: library.chunk(1, auditor),
        lambda: library.collections(auditor),
        lambda: library.statistics(auditor),
        lambda: library.ensure_collection("x", auditor),
        lambda: library.add(MULTI_PAGE, "x", actor=auditor, collection_id=1),
        lambda: library.retry(1, auditor),
        lambda: library.delete(1, auditor),
    ):
        with pytest.raises(Denied):
            attempt()


def wait_until(reached, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_reindex_embeds_every_document_again(setup):
    document = setup.add(word_file(paragraphs("Annual leave is 12 days.")), "a.docx")
    assert setup.queue.wait_idle(60)
    first = list(setup.embedder.texts)
    assert setup.library.reindex(CONSOLE) == 1
    assert setup.queue.wait_idle(60)
    assert setup.embedder.texts == first * 2
    assert setup.library.get(document.id, CONSOLE).state == "ready"
    assert setup.vector_store.count() == len(first)
