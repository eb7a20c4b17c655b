"""The rows of people: accounts, groups, who may read which collection, sessions, one-time links, failed sign-ins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables import Base, utc_now


class Person(Base):
    """Somebody who may sign in.

    name: what is typed at sign-in, folded (see services.accounts.names.folded) and unique.
    password_hash: argon2id in its own notation; None before the first password, and for who comes by single sign-on.
    subject: "<issuer>|<subject>" of single sign-on. locked: too many wrong passwords; an administrator lifts it.
    """

    __tablename__ = "people"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # random hex
    name: Mapped[str] = mapped_column(String(100), unique=True)
    full_name: Mapped[str] = mapped_column(String(200), default="")
    email: Mapped[str] = mapped_column(String(254), default="")
    roles: Mapped[list] = mapped_column(default=list)  # services.permissions.Role values
    password_hash: Mapped[str | None] = mapped_column(String(200))
    subject: Mapped[str | None] = mapped_column(String(400), unique=True)
    disabled: Mapped[bool] = mapped_column(default=False)
    locked: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    created_by: Mapped[str] = mapped_column(String(100))


class PersonSession(Base):
    """A browser that somebody signed in with.

    token_hash: SHA-256 of the cookie's value. ended_at: kept for single sign-on, whose cookie outlives our session.
    """

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_person", "person_id"),)

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    method: Mapped[str] = mapped_column(String(10))  # password, sso
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    seen_at: Mapped[datetime] = mapped_column(default=utc_now)
    ended_at: Mapped[datetime | None]


class OneTimeLink(Base):
    """A link that lets its bearer set a password once. person_id None: the first administrator, yet to be named."""

    __tablename__ = "one_time_links"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    created_by: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime]


class SignInFailures(Base):
    """Wrong passwords in a row, by "name:…" or "address:…"; names nobody has are counted alike."""

    __tablename__ = "sign_in_failures"

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int]
    last_at: Mapped[datetime]


class Group(Base):
    __tablename__ = "groups"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)


class GroupMember(Base):
    __tablename__ = "group_members"

    group_id: Mapped[int] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True)


class CollectionMember(Base):
    """Who may read a collection, or also edit it: a person, a group, or everybody (both None)."""

    __tablename__ = "collection_members"
    __table_args__ = (
        UniqueConstraint("collection_id", "person_id", "group_id"),
        Index("ix_collection_members_person", "person_id"),
        Index("ix_collection_members_group", "group_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    person_id: Mapped[str | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    group_id: Mapped[int | None] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"))
    access: Mapped[str] = mapped_column(String(10))  # reader, editor
