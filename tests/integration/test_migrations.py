"""The database of the last release becomes today's without losing anything."""

from __future__ import annotations

import json
import sqlite3

import pytest
from sqlalchemy import inspect

from db.account_tables import CollectionMember
from db.database import Database
from db.tables import Base, Chunk, Collection, Conversation, Document
from services.audit.trail import AuditTrail, open_audit
from services.documents.membership import Membership
from services.permissions import Actor, Role
from services.retrieval.lexical import LexicalIndex
from services.settings import Settings
from tests.fakes import add_people

NOW = "2026-11-20 04:00:00.000000"
NEW = Actor(id="new", name="new", roles=frozenset({Role.USER}))


@pytest.fixture
def old(tmp_path):
    """A file of the first release with two collections, a document in each, a chunk and a conversation."""
    settings = Settings(home=tmp_path)
    database = Database(f"sqlite:///{settings.database_path}")
    database.migrate("0001")
    database.close()
    with sqlite3.connect(settings.database_path) as connection:
        run = connection.execute
        for id_, name in ((3, "Samples 示例"), (7, "Handbook")):
            run("INSERT INTO collections VALUES (?, ?, ?, 'local')", (id_, name, NOW))
            columns = (
                "id, collection_id, sha256, title, format, size_bytes, uploaded_by, uploaded_at, state, pages_done"
            )
            columns += ", pages_total, chunks_done, chunks_total, notes, timings_ms"
            values = (
                id_ * 10,
                id_,
                f"{id_:064x}",
                f"{name}.pdf",
                "pdf",
                1,
                "local",
                NOW,
                "ready",
                1,
                1,
                1,
                1,
                "[]",
                "{}",
            )
            run(f"INSERT INTO documents ({columns}) VALUES ({', '.join('?' * len(values))})", values)
            run(
                "INSERT INTO chunks (id, document_id, collection_id, ordinal, text, heading_path, segments, tokens, "
                "embedded) VALUES (?, ?, ?, 0, ?, '[]', ?, 5, 1)",
                (id_ * 100, id_ * 10, id_, f"Text of {name}", json.dumps([[1, 0]])),
            )
            run("INSERT INTO chunks_fts (rowid, tokens) VALUES (?, ?)", (id_ * 100, f"text of {name.lower()}"))
        run("INSERT INTO conversations VALUES ('c1', 'local', 'Old question', ?, ?)", (NOW, NOW))
    return settings


def test_from_the_first_release_everything_is_kept_and_open_to_everybody(old):
    database = Database.open(old.database_path)
    with database.session() as session:
        collections = {row.id: row.name for row in session.query(Collection)}
        assert collections == {3: "Samples 示例", 7: "Handbook"}
        assert {row.id: row.collection_id for row in session.query(Document)} == {30: 3, 70: 7}
        assert {row.id: row.collection_id for row in session.query(Chunk)} == {300: 3, 700: 7}
        assert [row.title for row in session.query(Conversation)] == ["Old question"]
        members = [
            (row.collection_id, row.person_id, row.group_id, row.access) for row in session.query(CollectionMember)
        ]
        assert sorted(members) == [(3, None, None, "editor"), (7, None, None, "editor")]
    assert LexicalIndex(database).search("handbook", [7], 5).chunks
    audit_database = open_audit(old)
    audit = AuditTrail(audit_database, old)
    add_people(database, NEW)
    membership = Membership(database, audit)
    assert membership.readable(NEW) == [3, 7]
    assert membership.editable(NEW) == [3, 7]
    audit.close()
    audit_database.close()
    database.close()


def test_foreign_keys_hold_after_the_tables_were_made_anew(old):
    database = Database.open(old.database_path)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1  # and are watched again
        documents = connection.exec_driver_sql("PRAGMA foreign_key_list(documents)").all()
    assert [row[2] for row in documents] == ["collections"]
    database.close()


def test_two_collections_may_have_the_same_name_now(old):
    database = Database.open(old.database_path)
    with database.session() as session:
        session.add(Collection(name="Handbook", created_by="new"))
    database.close()


def test_from_empty_and_from_the_last_release_the_schema_is_the_same_and_that_of_the_classes(old, tmp_path):
    upgraded, empty = Database.open(old.database_path), Database.open(tmp_path / "empty.sqlite3")
    assert _schema(upgraded) == _schema(empty)
    found = inspect(empty.engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}, table.name
    upgraded.close()
    empty.close()


def _schema(database: Database) -> dict:
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {name: " ".join(sql.split()) for name, sql in rows}
