"""The chain of hashes: every event's hash covers the event before it.

    hash(n) = H(hash(n-1) ‖ n as 8 bytes, big-endian ‖ body(n) in UTF-8)        hash(0) = 32 zero bytes

H is SHA-256, or HMAC-SHA-256 when settings.audit_key_file names a key.

What a person who can write to the SQLite file can do, and what the verification says then:

without a key, or knowing it
    Edit an event and leave the hashes: wrong at that event. Compute all later hashes anew, too: only a head that was
    saved elsewhere (printed, in an export, in another system's log) shows it; the same for cutting the tail when
    sqlite_sequence is cut as well. So: without a key, the saved heads are the proof.
with a key that is not known
    Nothing can be edited, inserted, swapped or left out in the middle: no later hash can be computed. The tail can be
    cut (an old copy of the whole file is a true record of its time): again a saved head shows it.
always
    Who controls the running portal controls what it writes from then on; a chain proves the past, not the present.
    The indexes (of the columns and of the words) are not hashed: they can hide an event from a filter, not from the
    verification, nor from the unfiltered list and the export, which read the events themselves.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from dataclasses import dataclass

from services.errors import AuditKeyMissing
from services.settings import Settings
from services.translation import N_

GENESIS = bytes(32)
KEY_MIN_BYTES = 16
_FINGERPRINT = b"zhiku audit: which key is it"


@dataclass(frozen=True)
class Head:
    """The end of the chain at some moment. To be kept where the audit file is not."""

    id: int
    hash: str  # hex
    at: str  # UTC, as in the event

    def __str__(self) -> str:
        return f"{self.id}:{self.hash}:{self.at}"

    @classmethod
    def parse(cls, line: str) -> Head:
        """Raises ValueError when the line is none that str(head) gives."""
        number, digest, at = line.strip().split(":", 2)
        if len(bytes.fromhex(digest)) != len(GENESIS):
            raise ValueError(line)
        return cls(int(number), digest.lower(), at)


class Chain:
    """Computes hashes, with a key or without ("")."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    @classmethod
    def of(cls, settings: Settings) -> Chain:
        """With the key of the settings, if one is set. Raises AuditKeyMissing when it cannot be read."""
        if settings.audit_key_file is None:
            return cls()
        try:
            key = settings.audit_key_file.read_bytes().strip()
        except OSError as error:
            raise AuditKeyMissing(
                N_("The key of the audit cannot be read from {path}."),
                hint=N_("Put the key file back, or correct PORTAL_AUDIT_KEY_FILE."),
                path=str(settings.audit_key_file),
            ) from error
        if len(key) < KEY_MIN_BYTES:
            raise AuditKeyMissing(
                N_("The key of the audit in {path} is shorter than {length} bytes."),
                hint=N_("Make one with: openssl rand -hex 32"),
                path=str(settings.audit_key_file),
                length=KEY_MIN_BYTES,
            )
        return cls(key)

    @property
    def fingerprint(self) -> str:
        """Tells keys apart without telling anything about them; "" without a key."""
        return hmac.digest(self._key, _FINGERPRINT, "sha256").hex()[:16] if self._key else ""

    def digest(self, previous: bytes, event_id: int, body: bytes) -> bytes:
        message = previous + event_id.to_bytes(8, "big", signed=True) + body
        return hmac.digest(self._key, message, "sha256") if self._key else hashlib.sha256(message).digest()

    def require(self, connection: sqlite3.Connection) -> None:
        """Raise AuditKeyMissing unless the file's chain is made with this key, as far as the file says so."""
        row = connection.execute("SELECT value FROM properties WHERE name = 'key'").fetchone()
        if row is None or row[0] == self.fingerprint:
            return
        if not self._key:
            raise AuditKeyMissing(
                N_("The audit was made with a key, and none is set."),
                hint=N_("Set PORTAL_AUDIT_KEY_FILE to the file with the key."),
            )
        raise AuditKeyMissing(
            N_("The audit was made with another key, or without one."),
            hint=N_("Set PORTAL_AUDIT_KEY_FILE as it was. A new key needs a new audit file: move the old one away."),
        )

    def claim(self, connection: sqlite3.Connection) -> None:
        """Write down which key the chain is made with, in the caller's transaction. Raises AuditKeyMissing."""
        self.require(connection)
        values = ("key", self.fingerprint)
        connection.execute("INSERT INTO properties (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", values)
