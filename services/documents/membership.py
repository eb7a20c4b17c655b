"""Who may read and edit which collection: the one place that is asked, by search, lists, previews and uploads.

Members are persons, groups, or everybody, as readers or editors; an editor reads too. The console reaches all.
Administrators manage the members of every collection, and read those they are members of, like anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Select, delete, or_, select
from sqlalchemy.orm import Session

from db.account_tables import CollectionMember, Group, GroupMember, Person
from db.database import Database
from db.tables import Chunk, Collection
from services.audit.details import CollectionDetail
from services.audit.events import Action, EventOutcome
from services.audit.trail import AuditTrail
from services.errors import Denied, NotFound
from services.permissions import CONSOLE, Actor, Permission, check
from services.translation import N_


class Access(StrEnum):
    READER = "reader"
    EDITOR = "editor"


@dataclass(frozen=True)
class Member:
    """person_id or group_id, or neither: everybody. name: to show; "" for everybody."""

    access: Access
    person_id: str | None = None
    group_id: int | None = None
    name: str = ""


class Membership:
    """Thread-safe. Every call looks at the database as it is now: what was taken away is gone at once."""

    def __init__(self, database: Database, audit: AuditTrail) -> None:
        self._database = database
        self._audit = audit

    def readable(self, actor: Actor, wanted: Sequence[int] | None = None) -> list[int]:
        """Ids of the collections the actor may read, of the wanted ones (None: of all). Others are left out.

        Raises Denied when the actor may not read documents at all.
        """
        check(actor, Permission.READ_DOCUMENTS)
        ids = self._ids(actor, Access.READER, Access.EDITOR)
        return ids if wanted is None else [id_ for id_ in ids if id_ in set(wanted)]

    def editable(self, actor: Actor) -> list[int]:
        """Ids of the collections the actor may add to and delete from; none without the permission to edit."""
        return self._ids(actor, Access.EDITOR) if actor.may(Permission.EDIT_DOCUMENTS) else []

    def require_reader(self, actor: Actor, collection_id: int) -> None:
        """Raise NotFound for a collection the actor may not read: nobody learns that it exists."""
        if collection_id not in self.readable(actor):
            raise NotFound(N_("This collection no longer exists."), hint=N_("Reload the page."))

    def require_editor(self, actor: Actor, collection_id: int, action: Action) -> None:
        """Raise NotFound as above, or Denied for a reader, after recording that the act was refused."""
        self.require_reader(actor, collection_id)
        self._audit.require(actor, Permission.EDIT_DOCUMENTS, action)
        if collection_id not in self.editable(actor):
            self._audit.record(actor, action, EventOutcome.DENIED, str(collection_id))
            raise Denied(N_("You may read this collection, but not change it."), hint=N_("Ask one of its editors."))

    def may_read_chunks(self, actor: Actor, chunk_ids: Sequence[int]) -> set[int]:
        """Those of the chunks that lie in collections the actor may read now: the last look before a prompt."""
        query = select(Chunk.id).where(Chunk.id.in_(chunk_ids), Chunk.collection_id.in_(self.readable(actor)))
        with self._database.session() as session:
            return set(session.scalars(query))

    def members(self, actor: Actor, collection_id: int) -> list[Member]:
        """Everybody first, then groups, then persons, by name. Raises NotFound, Denied: see set_members."""
        self._require_manager(actor, collection_id)
        with self._database.session() as session:
            return self._members(session, collection_id)

    def set_members(self, actor: Actor, collection_id: int, members: Sequence[Member]) -> None:
        """Replace the members. Allowed to the collection's editors and to whoever manages collections.

        Raises NotFound (collection not the actor's to know of), Denied (a reader).
        """
        self._require_manager(actor, collection_id)
        with self._audit.act(actor, Action.COLLECTION_MEMBERS) as act, self._database.session(writing=True) as session:
            collection = session.get_one(Collection, collection_id)
            before = [_described(member) for member in self._members(session, collection_id)]
            act.target = collection.name
            session.execute(delete(CollectionMember).where(CollectionMember.collection_id == collection_id))
            add_members(session, collection_id, members)
            act.detail = CollectionDetail(
                collection_id=collection_id,
                name=collection.name,
                members_before=before,
                members=[_described(member) for member in self._members(session, collection_id)],
            )

    def candidates(self, actor: Actor, collection_id: int) -> list[Member]:
        """Whom the collection could be opened to: everybody, every group, every person who is not disabled."""
        self._require_manager(actor, collection_id)
        with self._database.session() as session:
            groups = session.execute(select(Group.id, Group.name).order_by(Group.name)).all()
            people = session.execute(
                select(Person.id, Person.name).where(Person.disabled.is_(False)).order_by(Person.name)
            ).all()
        everybody = [Member(Access.READER)]
        return (
            everybody
            + [Member(Access.READER, group_id=id_, name=name) for id_, name in groups]
            + [Member(Access.READER, person_id=id_, name=name) for id_, name in people]
        )

    def _members(self, session: Session, collection_id: int) -> list[Member]:
        query = (
            select(CollectionMember, Group.name, Person.name)
            .outerjoin(Group, Group.id == CollectionMember.group_id)
            .outerjoin(Person, Person.id == CollectionMember.person_id)
            .where(CollectionMember.collection_id == collection_id)
        )
        found = [
            Member(Access(row.access), row.person_id, row.group_id, group or person or "")
            for row, group, person in session.execute(query)
        ]
        return sorted(found, key=lambda m: (m.person_id is not None, m.group_id is not None, m.name))

    def _require_manager(self, actor: Actor, collection_id: int) -> None:
        if not actor.may(Permission.MANAGE_COLLECTIONS):
            self.require_editor(actor, collection_id, Action.COLLECTION_MEMBERS)
        with self._database.session() as session:
            if session.get(Collection, collection_id) is None:
                raise NotFound(N_("This collection no longer exists."), hint=N_("Reload the page."))

    def _ids(self, actor: Actor, *access: Access) -> list[int]:
        query = select(Collection.id).order_by(Collection.id)
        if actor.id != CONSOLE.id:
            query = query.where(Collection.id.in_(_memberships(actor.id, access)))
        with self._database.session() as session:
            return list(session.scalars(query))


def add_members(session: Session, collection_id: int, members: Sequence[Member]) -> None:
    """One row per person, group or everybody; the last word on each counts. Who is gone meanwhile is left out."""
    people, groups = {m.person_id for m in members}, {m.group_id for m in members}
    people = {None, *session.scalars(select(Person.id).where(Person.id.in_(people)))}
    groups = {None, *session.scalars(select(Group.id).where(Group.id.in_(groups)))}
    unique = {(m.person_id, m.group_id): m for m in members if m.person_id in people and m.group_id in groups}
    session.add_all(
        CollectionMember(collection_id=collection_id, person_id=m.person_id, group_id=m.group_id, access=m.access)
        for m in unique.values()
    )


def _memberships(person_id: str, access: Sequence[Access]) -> Select:
    """Collection ids by the person's own membership, a group's, or everybody's."""
    groups = select(GroupMember.group_id).where(GroupMember.person_id == person_id)
    everybody = CollectionMember.person_id.is_(None) & CollectionMember.group_id.is_(None)
    return select(CollectionMember.collection_id).where(
        CollectionMember.access.in_(access),
        or_(CollectionMember.person_id == person_id, CollectionMember.group_id.in_(groups), everybody),
    )


def _described(member: Member) -> str:
    return f"{member.access}: {member.name or 'everybody'}"
