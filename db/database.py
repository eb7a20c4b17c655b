"""The database: short sessions on SQLite (WAL), migrated by Alembic when it is opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BUSY_TIMEOUT_S = 30

Synchronous = Literal["NORMAL", "FULL"]  # NORMAL: a power cut may lose the last transactions; FULL: it does not


class Database:
    """Sessions on one SQLAlchemy URL. Thread-safe; holds no session of its own."""

    def __init__(self, url: str, *, migrations: Path = MIGRATIONS, synchronous: Synchronous = "NORMAL") -> None:
        self.url = url
        self._migrations = migrations
        self._synchronous: Synchronous = synchronous
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", partial(_set_pragmas, synchronous=synchronous))

    @classmethod
    def open(cls, path: Path, *, migrations: Path = MIGRATIONS, synchronous: Synchronous = "NORMAL") -> Database:
        """The SQLite file at `path`, created and migrated to the newest schema of its migrations."""
        path.parent.mkdir(parents=True, exist_ok=True)
        database = cls(f"sqlite:///{path}", migrations=migrations, synchronous=synchronous)
        database.migrate()
        return database

    def connect(self, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
        """A connection of SQLite's own, outside the pool, for what streams or writes too fast for an ORM.

        It begins no transaction by itself, may pass from thread to thread, and is closed by whoever asked for it.
        """
        connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False, timeout=busy_timeout_s)
        _set_pragmas(connection, synchronous=self._synchronous, busy_timeout_s=busy_timeout_s)
        return connection

    @contextmanager
    def session(self, *, writing: bool = False) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error. Objects stay readable afterwards.

        writing: nobody else writes from the first read on, so that what was read still holds when it is changed.
        """
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            if writing and self._engine.dialect.name == "sqlite":
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            yield session

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to a revision; does nothing when it is there already."""
        if revision == "head" and self._current_revision() == _newest_revision(self._migrations):
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self._migrations))
        with self._engine.connect() as connection, _foreign_keys_off(connection):
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def _current_revision(self) -> str | None:
        with self._engine.connect() as connection:
            raw = connection.exec_driver_sql
            if not raw("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").first():
                return None
            return raw("SELECT version_num FROM alembic_version").scalar()

    def close(self) -> None:
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for the migrations' tests."""
        return self._engine

    @property
    def file(self) -> Path:
        return Path(make_url(self.url).database or "")


@contextmanager
def _foreign_keys_off(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew; dropping the old one must not count as deleting its rows.

    The pragma does nothing inside a transaction, so it cannot stand in the migration itself.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    connection.rollback()
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def _newest_revision(migrations: Path) -> str:
    """The last migration's id; files are named <number>_<words>.py, number is the id (importing Alembic is slow)."""
    return max(path.name.split("_")[0] for path in (migrations / "versions").glob("[0-9]*.py"))


def _set_pragmas(
    connection: sqlite3.Connection,
    _record: object = None,
    *,
    synchronous: Synchronous,
    busy_timeout_s: float = BUSY_TIMEOUT_S,
) -> None:
    busy = f"busy_timeout={int(busy_timeout_s * 1000)}"
    cursor = connection.cursor()
    for pragma in (busy, "journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
