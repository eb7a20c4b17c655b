"""An export of the audit for a period: a zip that can be checked without the portal.

events.jsonl      the events as they are stored, a line each: id, hash (hex), body (the hashed text itself)
events.csv        the same for a spreadsheet (UTF-8 with BOM, no cell is a formula)
summary.*.md      what is in it, and what it proves, in Chinese and English
verify_export.py  checks all of it; the rule of the hashes once more, on its own
manifest.json     SHA-256 of each file, both ends of the chain, the seals; its own SHA-256 stands in the audit

The export is one stretch of ids without gaps, because only that can be proven: from the first event of the period
to the last. If the clock had been put back, events of another time may stand between them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import secrets
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from db.database import Database
from services.audit import verify_export
from services.audit.chain import GENESIS
from services.audit.events import stamp
from services.audit.export_summary import Tally, summary
from services.audit.ledger import DAY_COLUMNS
from services.errors import BadInput, NotFound, StorageFull
from services.permissions import Actor, Permission, check
from services.translation import LANGUAGES, N_

FORMAT = "zhiku-audit-export/1"
RULE = "hash = H(hash of the event before | id as 8 bytes, big-endian | body in UTF-8); before the first: 32 zero bytes"
_PROGRESS_EVERY = 5_000  # events
_BUFFER_BYTES = 1 << 16
_JSON = json.JSONEncoder(ensure_ascii=False)
_AT = "CASE WHEN json_valid(body) THEN json_extract(body, '$.at') END"

Progress = Callable[[float], None]  # gets the share that is done, 0 to 1


@dataclass(frozen=True)
class Exported:
    """manifest_sha256 stands for the whole content, also when it was unpacked; sha256 for the zip as it is."""

    path: Path
    sha256: str
    manifest_sha256: str
    events: int
    first_id: int
    last_id: int
    head: str  # of the whole chain when it was exported: id:hash:at


@dataclass(frozen=True)
class _Stretch:
    """previous: the hash before the first event, in hex; "" when the file does not know it."""

    first_id: int
    last_id: int
    count: int
    first_at: str
    last_at: str
    previous: str
    last_hash: str

    def to_json(self) -> dict:
        names = {"previous": "previous_hash"}
        return {names.get(name, name): value for name, value in vars(self).items()}


def export_events(
    database: Database,
    folder: Path,
    actor: Actor,
    since: datetime | None,
    until: datetime | None,
    *,
    now: datetime,
    progress: Progress = lambda share: None,
) -> Exported:
    """Write the zip of the events from `since` on and before `until` (both aware, None: no limit) into the folder.

    Reads one state of the file, however long it takes; memory does not grow with the number of events.
    Raises Denied, BadInput, NotFound when there are no events, StorageFull.
    """
    check(actor, Permission.READ_AUDIT)
    if since and until and since >= until:
        raise BadInput(N_("The period ends before it begins."))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"audit_{now:%Y-%m-%dT%H%M%S}_{secrets.token_hex(3)}.zip"
    part = path.with_suffix(".part")
    try:
        with closing(database.connect()) as connection:
            exported = _Export(connection, since, until, progress).write(part, actor, now)
        os.replace(part, path)
    except OSError as error:
        raise StorageFull(
            N_("The export cannot be written: {reason}."), hint=N_("Free disk space."), reason=error.strerror or ""
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return Exported(path, _sha256(path), *exported)


class _Export:
    """One export out of one connection, in one read transaction."""

    def __init__(
        self, connection: sqlite3.Connection, since: datetime | None, until: datetime | None, progress: Progress
    ) -> None:
        self._connection = connection
        self._since, self._until = (stamp(moment) if moment else None for moment in (since, until))
        self._progress = progress
        self._steps = 0

    def write(self, path: Path, actor: Actor, now: datetime) -> tuple[str, int, int, int, str]:
        """What Exported says after path and sha256."""
        self._connection.execute("BEGIN")
        stretch, tally = self._stretch(), Tally()
        manifest = self._manifest(stretch, actor, now)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as target, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            files = _Files(archive, now)
            with files.open("events.jsonl") as lines:
                self._write_lines(lines, stretch, tally)
            with files.open("events.csv") as cells:
                self._write_csv(cells, stretch)
            for language in LANGUAGES:
                files.add(f"summary.{language}.md", summary(manifest, tally, language).encode("utf-8", "replace"))
            files.add("verify_export.py", Path(verify_export.__file__).read_bytes())
            content = json.dumps(manifest | {"files": files.written}, ensure_ascii=False, indent=2)
            files.add("manifest.json", content.encode("utf-8", "replace"))
        digest = files.written[-1]["sha256"]
        return digest, stretch.count, stretch.first_id, stretch.last_id, manifest["head"]

    def _stretch(self) -> _Stretch:
        """Found by reading the events themselves: an index can be made to hide some. Raises NotFound."""
        first_id, last_id = self._one(
            f"SELECT min(id), max(id) FROM events NOT INDEXED WHERE {_AT} >= ? AND {_AT} < ?",
            self._since or "",
            self._until or "~",  # after every time
        )
        if first_id is None:
            raise NotFound(
                N_("There are no events in this period."),
                hint=N_("Days that retention has removed cannot be exported."),
            )
        count = self._one("SELECT count(*) FROM events WHERE id BETWEEN ? AND ?", first_id, last_id)[0]
        edge = f"SELECT {_AT}, CAST(hash AS BLOB) FROM events WHERE id = ?"
        (first_at, _), (last_at, last_hash) = self._one(edge, first_id), self._one(edge, last_id)
        return _Stretch(first_id, last_id, count, first_at, last_at, self._hash_before(first_id), last_hash.hex())

    def _hash_before(self, first_id: int) -> str:
        """Of the event before, or of the removed days before; "" when there is neither: the verifier will say so."""
        if first_id == 1:
            return GENESIS.hex()
        row = self._one(
            "SELECT CAST(hash AS BLOB) FROM events WHERE id = ?1"
            " UNION ALL SELECT last_hash FROM stubs WHERE last_id = ?1 LIMIT 1",
            first_id - 1,
        )
        return row[0].hex() if row else ""

    def _manifest(self, stretch: _Stretch, actor: Actor, now: datetime) -> dict:
        """All but the files, which are not written yet."""
        key = (self._one("SELECT value FROM properties WHERE name = 'key'") or [""])[0]
        last = self._one(f"SELECT id, CAST(hash AS BLOB), {_AT} FROM events ORDER BY id DESC LIMIT 1")
        return {
            "format": FORMAT,
            "exported_at": stamp(now),
            "exported_by": {"id": actor.id, "name": actor.name},
            "period": {"since": self._since, "until": self._until},
            "algorithm": "hmac-sha256" if key else "sha256",
            "key_fingerprint": key,
            "rule": RULE,
            "events": stretch.to_json(),
            "head": f"{last[0]}:{last[1].hex()}:{last[2]}",
            "seals": self._days("seals", stretch),
            "removed": self._days("stubs", stretch),
        }

    def _days(self, table: str, stretch: _Stretch) -> list[dict]:
        """Seals or stubs that end within the stretch, as the events say that tell of them."""
        rows = self._connection.execute(
            f"SELECT {DAY_COLUMNS} FROM {table} WHERE last_id BETWEEN ? AND ? ORDER BY first_id",
            (stretch.first_id, stretch.last_id),
        )
        names = DAY_COLUMNS.split(", ")
        return [
            {name: value.hex() if isinstance(value, bytes) else value for name, value in zip(names, row, strict=True)}
            for row in rows
        ]

    def _events(self, stretch: _Stretch) -> Iterator[tuple[int, str, str]]:
        """id, hash in hex, body. Bytes that are no UTF-8 (damage) come as lone surrogates, and go back as they were."""
        rows = self._connection.execute(
            "SELECT id, CAST(hash AS BLOB), CAST(body AS BLOB) FROM events WHERE id BETWEEN ? AND ? ORDER BY id",
            (stretch.first_id, stretch.last_id),
        )
        for number, (event_id, digest, body) in enumerate(rows):
            if number % _PROGRESS_EVERY == 0:
                self._progress((self._steps + number / stretch.count) / 2)
            yield event_id, digest.hex(), body.decode("utf-8", "surrogateescape")
        self._steps += 1

    def _write_lines(self, target: IO[bytes], stretch: _Stretch, tally: Tally) -> None:
        for event_id, digest, body in self._events(stretch):
            line = _JSON.encode({"id": event_id, "hash": digest, "body": body})
            target.write(line.encode("utf-8", "surrogateescape") + b"\n")
            tally.add(body)

    def _write_csv(self, target: IO[bytes], stretch: _Stretch) -> None:
        text = io.TextIOWrapper(target, "utf-8-sig", newline="")
        rows = csv.writer(text)
        rows.writerow(verify_export.COLUMNS)
        rows.writerows(verify_export.csv_row(*event) for event in self._events(stretch))
        text.flush()
        text.detach()

    def _one(self, query: str, *values: object) -> tuple | None:
        return self._connection.execute(query, values).fetchone()


class _Hashing(io.RawIOBase):
    """Passes on what is written to it, and counts and hashes it."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, block: bytes) -> int:
        self.sha256.update(block)
        self.size_bytes += len(block)
        return self._target.write(block)


class _Files:
    """The files of the zip; written: name, size and hash of those that are finished."""

    def __init__(self, archive: zipfile.ZipFile, now: datetime) -> None:
        self._archive = archive
        self._date_time = now.timetuple()[:6]
        self.written: list[dict] = []

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        info = zipfile.ZipInfo(name, self._date_time)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        with self._archive.open(info, "w", force_zip64=True) as member:
            hashing = _Hashing(member)
            buffered = io.BufferedWriter(hashing, _BUFFER_BYTES)
            yield buffered
            buffered.flush()
        found = {"name": name, "size_bytes": hashing.size_bytes, "sha256": hashing.sha256.hexdigest()}
        self.written.append(found)

    def add(self, name: str, content: bytes) -> None:
        with self.open(name) as target:
            target.write(content)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
