"""An export of the audit, and its verifier as a person runs it: by itself, with nothing of the portal at hand."""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from db.database import Database
from services.audit import verify_export
from services.audit.chain import Chain
from services.audit.details import AskDetail, SignInDetail
from services.audit.events import Action, EventOutcome
from services.audit.export import Exported, export_events
from services.audit.trail import AuditTrail, open_audit
from services.errors import BadInput, Denied, NotFound
from services.permissions import Actor, Role
from services.settings import Settings

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
ZHANG = Actor("u1", "张三", frozenset({Role.USER}), address="10.0.0.7")
AUDITOR = Actor("u9", "审计员", frozenset({Role.AUDITOR}))
KEY = b"0123456789abcdef0123456789abcdef"
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "＋1", "－1", "＠x", "\u200b=1", "\u3000=1"]


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


class Portal:
    """An audit file with three days of events in it."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        self.settings = Settings(home=home, audit_text="full", **settings)
        self.clock = Clock()
        self.database: Database = open_audit(self.settings)
        self.trail = AuditTrail(self.database, self.settings, clock=self.clock)

    def fill(self) -> Portal:
        for day in range(3):
            self.clock.now = START + timedelta(days=day)
            detail = AskDetail(question=f"第 {day} 天：年假有几天？\u2028新行\n第二行", answer="十天。😀")
            self.trail.record(ZHANG, Action.ASK, EventOutcome.SUCCEEDED, target="c1", detail=detail)
            failed = SignInDetail(method="password", reason="wrong password")
            self.trail.record(None, Action.SIGN_IN, EventOutcome.FAILED, target="li|si", detail=failed)
            self.trail.record(ZHANG, Action.PEOPLE_CREATE, EventOutcome.DENIED, target=FORMULAS[day])
        return self

    def export(self, since: datetime | None = None, until: datetime | None = None) -> Exported:
        return export_events(self.database, self.home / "exports", AUDITOR, since, until, now=START)

    def damage(self, event_id: int) -> None:
        """Overwrite the begin of a body where it lies in the file, as a failing disk would."""
        connection = self.database.connect()
        body = connection.execute("SELECT body FROM events WHERE id = ?", (event_id,)).fetchone()[0].encode()
        self.trail.close()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        content = self.settings.audit_path.read_bytes()
        self.settings.audit_path.write_bytes(content.replace(body, b"\xff" + body[1:]))


@pytest.fixture
def portal(tmp_path: Path) -> Portal:
    return Portal(tmp_path).fill()


@pytest.fixture
def keyed(tmp_path: Path) -> Portal:
    (tmp_path / "key").write_bytes(KEY + b"\n")
    return Portal(tmp_path, audit_key_file=tmp_path / "key").fill()


def unpacked(exported: Exported) -> Path:
    folder = exported.path.with_suffix("")
    with zipfile.ZipFile(exported.path) as archive:
        archive.extractall(folder)
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """The verifier of the export, in a process that cannot import the portal."""
    command = [sys.executable, "-I", str(folder / "verify_export.py"), *arguments]
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def lines_of(folder: Path) -> list[bytes]:
    return (folder / "events.jsonl").read_bytes().splitlines(keepends=True)


def forge(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines, and make the manifest and the table agree with them, as a forger would."""
    (folder / "events.jsonl").write_bytes(b"".join(change(lines_of(folder))))
    buffer = io.StringIO()
    rows = csv.writer(buffer)
    rows.writerow(verify_export.COLUMNS)
    rows.writerows(verify_export.csv_row(*event) for event in verify_export.events(verify_export.Package(folder)))
    (folder / "events.csv").write_bytes(buffer.getvalue().encode("utf-8-sig"))
    agree(folder)


def agree(folder: Path) -> None:
    """Write the hashes of the files as they are now into the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    for entry in manifest["files"]:
        content = (folder / entry["name"]).read_bytes()
        entry |= {"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def rows_of(folder: Path) -> list[dict]:
    with (folder / "events.csv").open(encoding="utf-8-sig", newline="") as source:
        return list(csv.DictReader(source))


def test_an_export_verifies_in_its_folder_and_as_a_zip(portal: Portal) -> None:
    exported = portal.export()
    folder = unpacked(exported)
    for arguments in ([], [str(exported.path)]):
        code, said = run(folder, *arguments)
        assert code == 0, said
        assert "Verdict: the export is whole." in said
        assert "结论：导出完整" in said
        assert exported.manifest_sha256 in said
    assert exported.events == 11  # nine acts and two seals
    assert exported.sha256 == hashlib.sha256(exported.path.read_bytes()).hexdigest()


def test_the_verifier_runs_on_python_3_8_with_the_standard_library_alone() -> None:
    source = Path(verify_export.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert not any(new in source for new in ("removeprefix", "strict=", "file_digest", "match ", "hmac.digest"))


@pytest.mark.parametrize("key", [b"", KEY])
def test_the_verifier_and_the_portal_compute_the_same_hashes(key: bytes) -> None:
    chain, hasher = Chain(key), verify_export.Hasher(key)
    for event_id, body in ((1, b""), (2**40, "问题".encode()), (7, b"\xff{}")):
        assert chain.digest(bytes(32), event_id, body) == hasher.digest(bytes(32), event_id, body)
    assert chain.fingerprint == hasher.fingerprint


def test_the_lines_hold_the_bodies_exactly_as_they_are_stored(portal: Portal) -> None:
    folder = unpacked(portal.export())
    stored = portal.database.connect().execute("SELECT id, body, hash FROM events ORDER BY id").fetchall()
    lines = [json.loads(line) for line in lines_of(folder)]
    assert [(line["id"], line["body"], bytes.fromhex(line["hash"])) for line in lines] == stored


def _edited(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace("张三".encode(), "李四".encode()), *lines[1:]]


def _with_hashes_anew(lines: list[bytes]) -> list[bytes]:
    """By one who does not have the key."""
    previous, hasher, forged = bytes(32), verify_export.Hasher(), []
    for line in _edited(lines):
        found = json.loads(line)
        previous = hasher.digest(previous, found["id"], found["body"].encode())
        forged.append(json.dumps(found | {"hash": previous.hex()}).encode() + b"\n")
    return forged


TAMPERINGS = {
    "edited": (_edited, "event 1: its content"),
    "removed": (lambda lines: [*lines[:4], *lines[5:]], "event 6 stands where event 5 belongs"),
    "swapped": (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], "event 6 stands where event 5 belongs"),
    "inserted twice": (lambda lines: [*lines[:4], lines[3], *lines[4:]], "event 4 stands where event 5 belongs"),
    "cut at the end": (lambda lines: lines[:-1], "the last events are not those of the manifest"),
    "cut at the begin": (lambda lines: lines[1:], "event 2 stands where event 1 belongs"),
    "not JSON": (lambda lines: [*lines[:2], b"nonsense\n", *lines[3:]], "line 3 of events.jsonl cannot be read"),
    "hashes anew": (_with_hashes_anew, "the last events are not those of the manifest"),
}


@pytest.mark.parametrize("name", [name for name in TAMPERINGS if name != "not JSON"])
def test_a_tampered_line_is_named_although_manifest_and_table_agree_with_it(portal: Portal, name: str) -> None:
    change, reason = TAMPERINGS[name]
    folder = unpacked(portal.export())
    forge(folder, change)
    code, said = run(folder)
    assert code == 1
    assert reason in said
    assert "5 files are as the manifest says" in said


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_line_is_named_beside_the_changed_file(portal: Portal, name: str) -> None:
    change, reason = TAMPERINGS[name]
    folder = unpacked(portal.export())
    (folder / "events.jsonl").write_bytes(b"".join(change(lines_of(folder))))
    code, said = run(folder)
    assert code == 1
    assert "the file events.jsonl was changed" in said
    assert reason in said


def test_a_changed_cell_of_the_table_is_named(portal: Portal) -> None:
    folder = unpacked(portal.export())
    cells = (folder / "events.csv").read_bytes()
    (folder / "events.csv").write_bytes(cells.replace("张三".encode(), "李四".encode(), 1))
    agree(folder)
    code, said = run(folder)
    assert code == 1
    assert "events.csv: actor_name of event 1 was changed" in said


def test_a_removed_row_of_the_table_is_noticed(portal: Portal) -> None:
    folder = unpacked(portal.export())
    cells = (folder / "events.csv").read_bytes()
    (folder / "events.csv").write_bytes(cells[: cells[:-2].rindex(b"\r\n") + 2])
    agree(folder)
    assert "events.csv has other rows" in run(folder)[1]


def test_a_missing_file_is_noticed(portal: Portal) -> None:
    folder = unpacked(portal.export())
    (folder / "summary.zh.md").unlink()
    code, said = run(folder)
    assert code == 1
    assert "the file summary.zh.md is missing" in said


def test_a_changed_seal_is_named(portal: Portal) -> None:
    folder = unpacked(portal.export())
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["seals"][1]["sealed_at"] = "2026-11-03T00:00:00.000000Z"
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    code, said = run(folder)
    assert code == 1
    assert "the seal of 2026-11-02 does not fit" in said


def test_a_keyed_chain_verifies_with_its_key_only(keyed: Portal) -> None:
    folder = unpacked(keyed.export())
    code, said = run(folder, "--key-file", str(keyed.home / "key"))
    assert code == 0, said
    code, said = run(folder)
    assert code == 1
    assert "name it with --key-file" in said
    (keyed.home / "other").write_bytes(b"another key, long enough")
    code, said = run(folder, "--key-file", str(keyed.home / "other"))
    assert code == 1
    assert "this is not the key the audit was made with" in said


def test_a_keyed_chain_cannot_be_computed_anew_without_the_key(keyed: Portal) -> None:
    folder = unpacked(keyed.export())
    forge(folder, _with_hashes_anew)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["events"]["last_hash"] = json.loads(lines_of(folder)[-1])["hash"]
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert "event 1: its content" in run(folder, "--key-file", str(keyed.home / "key"))[1]


def test_a_saved_head_shows_a_chain_that_was_computed_anew(portal: Portal) -> None:
    head = portal.export().head
    folder = unpacked(portal.export())
    assert run(folder, "--head", head)[0] == 0
    forge(folder, _with_hashes_anew)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["events"]["last_hash"] = json.loads(lines_of(folder)[-1])["hash"]
    manifest["seals"] = []
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    code, said = run(folder)
    assert code == 0
    assert "a chain computed anew as a whole would not be noticed" in said
    code, said = run(folder, "--head", head)
    assert code == 1
    assert "event 11 is not the one of the saved head" in said


def test_a_head_outside_of_the_export_is_not_called_proven(portal: Portal) -> None:
    head = portal.export().head
    folder = unpacked(portal.export(until=START + timedelta(days=1)))
    code, said = run(folder, "--head", head)
    assert code == 1
    assert "outside of this export" in said


def test_a_day_in_the_middle_verifies_by_itself(portal: Portal) -> None:
    exported = portal.export(START + timedelta(days=1), START + timedelta(days=2))
    assert (exported.first_id, exported.last_id) == (4, 7)
    folder = unpacked(exported)
    code, said = run(folder)
    assert code == 0, said
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    before = portal.database.connect().execute("SELECT hash FROM events WHERE id = 3").fetchone()[0]
    assert manifest["events"]["previous_hash"] == before.hex()


def test_an_export_after_retention_begins_at_the_stub(tmp_path: Path) -> None:
    portal = Portal(tmp_path, audit_keep_days=1).fill()
    portal.clock.now = START + timedelta(days=3)
    portal.trail.recover()
    exported = portal.export()
    assert exported.first_id > 1
    code, said = run(unpacked(exported))
    assert code == 0, said


def test_damage_in_the_audit_file_is_exported_as_it_is_and_named(portal: Portal) -> None:
    portal.damage(5)
    folder = unpacked(portal.export())
    assert lines_of(folder)[4].count(b"\xff") == 1
    code, said = run(folder)
    assert code == 1
    assert "event 5: its content" in said
    assert "[ok] events.csv" in said
    assert "1 events are damaged" in (folder / "summary.en.md").read_text("utf-8")


def test_no_cell_of_the_table_is_a_formula(portal: Portal) -> None:
    for text in FORMULAS:
        actor = Actor("=id", text, frozenset({Role.USER}))
        portal.trail.record(actor, Action.ASK, EventOutcome.FAILED, target=text)
    folder = unpacked(portal.export())
    rows = rows_of(folder)[-len(FORMULAS) :]
    assert [row["target"] for row in rows] == ["'" + text for text in FORMULAS]
    assert [row["actor_name"] for row in rows] == ["'" + text for text in FORMULAS]
    assert run(folder)[0] == 0


def test_the_table_opens_in_excel_as_chinese_and_keeps_cells_short(portal: Portal) -> None:
    long = AskDetail(question="问" * 20_000, answer="答" * 20_000)
    portal.trail.record(ZHANG, Action.ASK, EventOutcome.SUCCEEDED, target="a\x00b\ud800", detail=long)
    folder = unpacked(portal.export())
    assert (folder / "events.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    last = rows_of(folder)[-1]
    assert last["actor_name"] == "张三"
    assert len(last["detail"]) < 32_767
    assert last["target"] == "a\ufffdb?"
    assert run(folder)[0] == 0


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_summary_counts_and_names_and_escapes(portal: Portal, language: str) -> None:
    text = (unpacked(portal.export()) / f"summary.{language}.md").read_text("utf-8")
    for row in ("| sign\\_in | 3 |", "| denied | 3 |", "| 张三 | 6 |", "| 2026-11-02 | 4 |", "| li\\|si | 3 |"):
        assert row in text
    assert "张三: people.create" in text


def test_an_export_names_who_made_it_and_when(portal: Portal) -> None:
    exported = portal.export()
    manifest = json.loads((unpacked(exported) / "manifest.json").read_text("utf-8"))
    assert manifest["exported_by"] == {"id": "u9", "name": "审计员"}
    assert manifest["exported_at"].startswith("2026-11-01T08")
    assert manifest["head"] == exported.head
    assert exported.path.stat().st_mode & 0o777 == 0o600


def test_an_export_without_the_right_or_without_events_is_refused(portal: Portal) -> None:
    with pytest.raises(Denied):
        export_events(portal.database, portal.home / "x", ZHANG, None, None, now=START)
    with pytest.raises(BadInput):
        portal.export(START, START)
    with pytest.raises(NotFound):
        portal.export(START + timedelta(days=40))
    assert not (portal.home / "x").exists()
    assert list((portal.home / "exports").iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_events(portal: Portal) -> None:
    """20,000 events of 3 KB are 60 MB; the export takes a few."""
    portal.trail.close()
    connection = portal.database.connect()
    connection.execute("DROP TRIGGER events_follow")
    body = json.dumps({"at": "2026-11-05T00:00:00.000000Z", "action": "ask", "outcome": "succeeded", "pad": "x" * 3000})
    connection.execute("BEGIN")
    rows = ((number, body, bytes(32)) for number in range(12, 20_012))
    connection.executemany("INSERT INTO events (id, body, hash) VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")
    shares: list[float] = []
    tracemalloc.start()
    try:
        portal_export = export_events(
            portal.database, portal.home / "big", AUDITOR, None, None, now=START, progress=shares.append
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert portal_export.events == 20_011
    assert peak < 10_000_000
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1
    shutil.rmtree(portal.home / "big")
