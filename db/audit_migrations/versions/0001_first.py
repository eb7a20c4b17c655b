"""The first release: chained events with their full-text index, pending acts, seals, stubs, saved filters."""

from alembic import op

revision = "0001"
down_revision = None

_DAY = """
    day VARCHAR(10) NOT NULL PRIMARY KEY, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, count INTEGER NOT NULL,
    previous BLOB NOT NULL, last_hash BLOB NOT NULL, sealed_at VARCHAR(27) NOT NULL
"""
_TABLES = (
    """CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL,
    hash BLOB NOT NULL,
    at VARCHAR GENERATED ALWAYS AS (json_extract(body, '$.at')) VIRTUAL,
    day VARCHAR GENERATED ALWAYS AS (substr(json_extract(body, '$.at'), 1, 10)) VIRTUAL,
    actor_id VARCHAR GENERATED ALWAYS AS (json_extract(body, '$.actor_id')) VIRTUAL,
    actor_name VARCHAR GENERATED ALWAYS AS (json_extract(body, '$.actor_name')) VIRTUAL,
    action VARCHAR GENERATED ALWAYS AS (json_extract(body, '$.action')) VIRTUAL,
    outcome VARCHAR GENERATED ALWAYS AS (json_extract(body, '$.outcome')) VIRTUAL,
    target VARCHAR GENERATED ALWAYS AS (json_extract(body, '$.target')) VIRTUAL,
    duration_ms FLOAT GENERATED ALWAYS AS (json_extract(body, '$.duration_ms')) VIRTUAL,
    request_id VARCHAR GENERATED ALWAYS AS (json_extract(body, '$.request_id')) VIRTUAL
)""",
    "CREATE INDEX ix_events_actor ON events (actor_id)",
    "CREATE INDEX ix_events_action ON events (action)",
    "CREATE INDEX ix_events_outcome ON events (outcome)",
    "CREATE INDEX ix_events_day ON events (day)",
    "CREATE INDEX ix_events_counts ON events (day, actor_id, action, outcome, at)",
    "CREATE VIRTUAL TABLE events_fts USING fts5(words, detail=none, columnsize=0)",
    "CREATE TABLE pending (request_id VARCHAR(16) NOT NULL PRIMARY KEY, owner VARCHAR(100) NOT NULL,"
    " begun_at VARCHAR(27) NOT NULL, body TEXT NOT NULL)",
    f"CREATE TABLE seals ({_DAY})",
    f"CREATE TABLE stubs ({_DAY}, removed_at VARCHAR(27) NOT NULL, event_id INTEGER NOT NULL)",
    "CREATE TABLE properties (name VARCHAR(50) NOT NULL PRIMARY KEY, value VARCHAR(500) NOT NULL)",
    "CREATE TABLE saved_filters (actor_id VARCHAR(100) NOT NULL, name VARCHAR(100) NOT NULL, filter TEXT NOT NULL,"
    " PRIMARY KEY (actor_id, name))",
)
_ABORT = "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
_TRIGGERS = (
    "events_follow BEFORE INSERT ON events WHEN NEW.id IS NOT"
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0) + 1",
    "events_no_update BEFORE UPDATE ON events",
    "events_no_delete BEFORE DELETE ON events WHEN"
    " NOT EXISTS (SELECT 1 FROM stubs WHERE OLD.id BETWEEN first_id AND last_id)",
    "seals_no_replace BEFORE INSERT ON seals WHEN NEW.day IN (SELECT day FROM seals)",
    "seals_no_update BEFORE UPDATE ON seals",
    "seals_no_delete BEFORE DELETE ON seals",
    "stubs_no_replace BEFORE INSERT ON stubs WHEN NEW.day IN (SELECT day FROM stubs)",
    "stubs_no_update BEFORE UPDATE ON stubs",
    "stubs_no_delete BEFORE DELETE ON stubs",
)


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)
    for trigger in _TRIGGERS:
        op.execute(f"CREATE TRIGGER {trigger} {_ABORT}")
