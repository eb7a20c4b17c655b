"""People: the administrators' side of accounts. Every act is checked and recorded."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.account_tables import Group, GroupMember, Person, PersonSession
from db.database import Database
from services.accounts.accounts import Accounts
from services.accounts.names import checked
from services.audit.details import PersonDetail
from services.audit.events import Action
from services.audit.trail import AuditTrail
from services.errors import BadInput, Denied, NotFound
from services.permissions import Actor, Permission, Role, check
from services.translation import N_


@dataclass(frozen=True)
class PersonView:
    """A person as administrators see them. method: password, sso, or invited (no password yet)."""

    id: str
    name: str
    full_name: str
    email: str
    roles: frozenset[Role]
    groups: tuple[int, ...]
    method: str
    disabled: bool
    locked: bool
    created_at: datetime
    seen_at: datetime | None


@dataclass(frozen=True)
class GroupView:
    id: int
    name: str
    members: int


class People:
    """Accounts and groups, as administrators manage them. Thread-safe."""

    def __init__(self, database: Database, accounts: Accounts, audit: AuditTrail) -> None:
        self._database = database
        self._accounts = accounts
        self._audit = audit

    def list(self, actor: Actor) -> list[PersonView]:
        """Everybody, by name."""
        check(actor, Permission.MANAGE_PEOPLE)
        with self._database.session() as session:
            people = list(session.scalars(select(Person).order_by(Person.name)))
            seen = dict(
                session.execute(
                    select(PersonSession.person_id, func.max(PersonSession.seen_at)).group_by(PersonSession.person_id)
                ).all()
            )
            groups: dict[str, list[int]] = {}
            for member in session.scalars(select(GroupMember).order_by(GroupMember.group_id)):
                groups.setdefault(member.person_id, []).append(member.group_id)
        return [_view(person, tuple(groups.get(person.id, ())), seen.get(person.id)) for person in people]

    def invite(
        self, actor: Actor, name: str, roles: Iterable[Role], *, full_name: str = "", email: str = ""
    ) -> tuple[str, str]:
        """Make an account without a password; (person id, token of the one-time link to set one).

        Raises BadInput for a name that is taken or is none, or without a role.
        """
        self._require(actor, Action.PEOPLE_INVITE)
        name, roles = checked(name), _checked_roles(roles)
        person_id = secrets.token_hex(16)
        detail = PersonDetail(person_id=person_id, name=name, roles_after=roles)
        with self._audit.act(actor, Action.PEOPLE_INVITE, target=name, detail=detail):
            try:
                with self._database.session(writing=True) as session:
                    session.add(
                        Person(
                            id=person_id,
                            name=name,
                            full_name=full_name.strip()[:200],
                            email=email.strip()[:254],
                            roles=roles,
                            created_by=actor.id,
                        )
                    )
            except IntegrityError as error:
                raise BadInput(N_("There is somebody named {name} already."), name=name) from error
        return person_id, self._accounts.links.make(person_id, actor.id)

    def reset(self, actor: Actor, person_id: str) -> str:
        """A one-time link for a new password; its token. The old password is good until the link is used."""
        self._require(actor, Action.PEOPLE_RESET)
        person = self._get(person_id)
        if person.subject:
            raise BadInput(N_("{name} signs in through the company's provider."), name=person.name)
        with self._audit.act(actor, Action.PEOPLE_RESET, target=person.name, detail=_detail(person)):
            return self._accounts.links.make(person_id, actor.id)

    def unlock(self, actor: Actor, person_id: str) -> None:
        """Lift the lock that wrong passwords brought about, and the waits."""
        self._require(actor, Action.PEOPLE_UNLOCK)
        person = self._get(person_id)
        with self._audit.act(actor, Action.PEOPLE_UNLOCK, target=person.name, detail=_detail(person)):
            with self._database.session(writing=True) as session:
                session.get_one(Person, person_id).locked = False
            self._accounts.throttle.forget(person.name)

    def set_roles(self, actor: Actor, person_id: str, roles: Iterable[Role]) -> None:
        """Give exactly these roles; the person's sessions end, so that no page goes on with the old ones.

        Raises Denied for one's own account (nobody makes themselves auditor, or the portal ownerless).
        """
        self._require(actor, Action.PEOPLE_CHANGE)
        _not_oneself(actor, person_id)
        person, roles = self._get(person_id), _checked_roles(roles)
        if person.subject:
            raise BadInput(N_("The roles of {name} come from the company's provider."), name=person.name)
        detail = PersonDetail(person_id=person_id, name=person.name, roles_before=person.roles, roles_after=roles)
        with self._audit.act(actor, Action.PEOPLE_CHANGE, target=person.name, detail=detail):
            with self._database.session(writing=True) as session:
                session.get_one(Person, person_id).roles = roles
            self._accounts.sessions.end_all(person_id)

    def disable(self, actor: Actor, person_id: str) -> None:
        """Close an account and end its sessions, from the next request on. Conversations stay."""
        self._set_disabled(actor, person_id, True)

    def enable(self, actor: Actor, person_id: str) -> None:
        self._set_disabled(actor, person_id, False)

    def groups(self, actor: Actor) -> list[GroupView]:
        check(actor, Permission.MANAGE_PEOPLE)
        counted = (
            select(Group.id, Group.name, func.count(GroupMember.person_id))
            .outerjoin(GroupMember)
            .group_by(Group.id)
            .order_by(Group.name)
        )
        with self._database.session() as session:
            return [GroupView(*row) for row in session.execute(counted)]

    def add_group(self, actor: Actor, name: str) -> int:
        """The id of a new group, or of the one of that name."""
        self._require(actor, Action.PEOPLE_GROUPS)
        name = " ".join(name.split())[:200]
        if not name:
            raise BadInput(N_("The group needs a name."))
        with self._audit.act(actor, Action.PEOPLE_GROUPS, target=name), self._database.session(writing=True) as session:
            found = session.scalar(select(Group).where(Group.name == name))
            if found is None:
                found = Group(name=name)
                session.add(found)
                session.flush()
            return found.id

    def remove_group(self, actor: Actor, group_id: int) -> None:
        """Delete the group; its members lose what they could read only through it."""
        self._require(actor, Action.PEOPLE_GROUPS)
        with self._audit.act(actor, Action.PEOPLE_GROUPS) as act, self._database.session(writing=True) as session:
            group = session.get(Group, group_id)
            if group is None:
                raise NotFound(N_("This group no longer exists."))
            act.target = group.name
            session.delete(group)

    def set_groups(self, actor: Actor, person_id: str, group_ids: Iterable[int]) -> None:
        """Make the person a member of exactly these groups; what they may read changes with their next question."""
        self._require(actor, Action.PEOPLE_GROUPS)
        person = self._get(person_id)
        with self._audit.act(actor, Action.PEOPLE_GROUPS, target=person.name) as act:
            with self._database.session(writing=True) as session:
                names = _replace_groups(session, person_id, set(group_ids))
            act.detail = PersonDetail(person_id=person_id, name=person.name, groups_after=names)

    def _set_disabled(self, actor: Actor, person_id: str, disabled: bool) -> None:
        action = Action.PEOPLE_DISABLE if disabled else Action.PEOPLE_ENABLE
        self._require(actor, action)
        _not_oneself(actor, person_id)
        person = self._get(person_id)
        with self._audit.act(actor, action, target=person.name, detail=_detail(person)):
            with self._database.session(writing=True) as session:
                session.get_one(Person, person_id).disabled = disabled
            if disabled:
                self._accounts.sessions.end_all(person_id)

    def _require(self, actor: Actor, action: Action) -> None:
        self._audit.require(actor, Permission.MANAGE_PEOPLE, action)

    def _get(self, person_id: str) -> Person:
        with self._database.session() as session:
            person = session.get(Person, person_id)
        if person is None:
            raise NotFound(N_("This person no longer exists."), hint=N_("Reload the page."))
        return person


def _view(person: Person, groups: tuple[int, ...], seen_at: datetime | None) -> PersonView:
    method = "sso" if person.subject else "password" if person.password_hash else "invited"
    return PersonView(
        id=person.id,
        name=person.name,
        full_name=person.full_name,
        email=person.email,
        roles=frozenset(map(Role, person.roles)),
        groups=groups,
        method=method,
        disabled=person.disabled,
        locked=person.locked,
        created_at=person.created_at,
        seen_at=seen_at,
    )


def _detail(person: Person) -> PersonDetail:
    return PersonDetail(person_id=person.id, name=person.name)


def _checked_roles(roles: Iterable[Role]) -> list[str]:
    roles = sorted(set(map(Role, roles)))
    if not roles:
        raise BadInput(N_("Choose at least one role."))
    return roles


def _not_oneself(actor: Actor, person_id: str) -> None:
    if actor.id == person_id:
        raise Denied(N_("You cannot do this to your own account."), hint=N_("Ask another administrator."))


def _replace_groups(session: Session, person_id: str, group_ids: set[int]) -> list[str]:
    """The names of the groups the person is now in; ids of groups that are gone are left out."""
    groups = list(session.scalars(select(Group).where(Group.id.in_(group_ids)).order_by(Group.name)))
    session.execute(delete(GroupMember).where(GroupMember.person_id == person_id))
    session.add_all(GroupMember(group_id=group.id, person_id=person_id) for group in groups)
    return [group.name for group in groups]
