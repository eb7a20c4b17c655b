"""The database: short sessions on SQLite (WAL), migrated by Alembic when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.orm import Session

MIGRATIONS = Path(__file__).resolve().parent / "migrations"


class Database:
    """Sessions on one SQLAlchemy URL. Thread-safe; holds no session of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _set_pragmas)

    @classmethod
    def open(cls, path: Path) -> Database:
        """The SQLite file at `path`, created and migrated to the newest schema."""
        path.parent.mkdir(parents=True, exist_ok=True)
        database = cls(f"sqlite:///{path}")
        database.migrate()
        return database

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error. Objects stay readable afterwards."""
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema to a revision; does nothing when it is there already."""
        if revision == "head" and self._current_revision() == _newest_revision():
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._engine.connect() as connection:
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


def _newest_revision() -> str:
    """The last migration's id; files are named <number>_<words>.py number is the id (importing Alembic is slow)."""
    return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _set_pragmas(connection, _record) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
