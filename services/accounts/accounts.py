"""Accounts: who is at the other end, from password, one-time link or single sign-on to the actor of each request."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.account_tables import Person
from db.database import Database
from db.tables import utc_now
from services.accounts.links import Invited, Links
from services.accounts.names import checked, folded
from services.accounts.passwords import Passwords
from services.accounts.sessions import Sessions, SessionView
from services.accounts.throttle import Throttle
from services.audit.details import PersonDetail, SignInDetail
from services.audit.events import Action
from services.audit.trail import AuditTrail
from services.errors import SignInRefused
from services.permissions import Actor, Role
from services.settings import Settings
from services.translation import N_


class Accounts:
    """Signing in and out, and one's own password. Thread-safe; knows no session but by its token."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        audit: AuditTrail,
        *,
        clock: Callable[[], datetime] = utc_now,
        passwords: Passwords | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._audit = audit
        self.passwords = passwords or Passwords(settings.password_min_length)
        self.sessions = Sessions(database, settings, clock)
        self.throttle = Throttle(database, clock)
        self.links = Links(database, settings, clock)

    def sign_in(self, name: str, password: str, *, address: str, browser: str) -> str:
        """Start a session; the token for its cookie.

        Raises TooManyAttempts, or SignInRefused with the same words and after the same time for an unknown name, a
        wrong password, a locked, disabled or password-less account.
        """
        name = folded(name)[:100]
        with self._database.session() as session:
            person = session.scalar(select(Person).where(Person.name == name))
        somebody = Actor(
            id=person.id if person else "", name=name if person else "", roles=frozenset(), address=address
        )
        with self._audit.act(somebody, Action.SIGN_IN, detail=SignInDetail(method="password")) as act:
            attempts = self.throttle.attempt(name, address)
            right = self.passwords.matches(person.password_hash if person else None, password)
            if person and attempts > self._settings.sign_in_lock_after:
                person = self._locked(person.id)
            if reason := _reason(person, right):
                act.detail = SignInDetail(method="password", reason=reason)
                raise _refused()
            self.throttle.succeeded(name, address)
            return self.sessions.begin(person.id, method="password", address=address, browser=browser)

    def identify(self, token: str | None, *, address: str = "", active: bool = True) -> Actor | None:
        """Who the cookie belongs to at this moment; None is nobody. active: see Sessions.actor."""
        return self.sessions.actor(token, address=address, active=active) if token else None

    def sign_out(self, token: str, actor: Actor) -> None:
        """End this session."""
        with self._audit.act(actor, Action.SIGN_OUT):
            self.sessions.end(token)

    def sign_out_everywhere(self, actor: Actor) -> int:
        """End all of the actor's sessions, this one too."""
        with self._audit.act(actor, Action.SESSION_REVOKE, target=actor.name):
            return self.sessions.end_all(actor.id)

    def own_sessions(self, actor: Actor, token: str | None) -> list[SessionView]:
        return self.sessions.of(actor.id, token)

    def change_password(self, actor: Actor, old: str, new: str, *, keep: str | None = None) -> None:
        """Set one's own password; all other sessions end. keep: the token of the session that goes on.

        Raises SignInRefused (old password), TooManyAttempts, BadInput (new password).
        """
        with self._audit.act(actor, Action.PASSWORD_CHANGE, target=actor.name):
            with self._database.session() as session:
                person = session.get_one(Person, actor.id)
            self.throttle.attempt(person.name, actor.address)
            if not self.passwords.matches(person.password_hash, old):
                raise SignInRefused(N_("The present password is wrong."))
            self._set_password(person.id, self.passwords.hash(new, name=person.name))
            self.throttle.succeeded(person.name, actor.address)
            self.sessions.end_all(person.id, but=keep)

    def has_password(self, actor: Actor) -> bool:
        """Whether the actor signs in with a password of the portal's own."""
        with self._database.session() as session:
            return session.get_one(Person, actor.id).password_hash is not None

    def first_admin_link(self) -> str | None:
        """A token for the first administrator; None when there is somebody already. For the console only."""
        with self._database.session() as session:
            if session.scalar(select(Person.id).limit(1)):
                return None
        return self.links.make(None, "console")

    def use_link(self, token: str, password: str, *, name: str = "", address: str = "") -> None:
        """Set the password that the link is for; the first administrator also chooses a name.

        The person's running sessions end. Raises SignInRefused (link), BadInput (name or password).
        """
        invited = self.links.look(token)
        chosen = invited.name or checked(name)
        hashed = self.passwords.hash(password, name=chosen)
        person_id = invited.person_id or secrets.token_hex(16)
        actor = Actor(id=person_id, name=chosen, roles=frozenset(), address=address)
        action = Action.PASSWORD_CHANGE if invited.person_id else Action.PEOPLE_CREATE
        with self._audit.act(actor, action, target=chosen, detail=PersonDetail(person_id=person_id, name=chosen)):
            with self._database.session(writing=True) as session:
                self._take(session, self.links.use(session, token), person_id, chosen, hashed)
            self.throttle.forget(chosen)
            self.sessions.end_all(person_id)

    def _take(self, session: Session, invited: Invited, person_id: str, name: str, password_hash: str) -> None:
        """The link's promise: the named person's password, or the first administrator."""
        if invited.person_id is None:
            roles = [Role.USER, Role.ADMIN]
            session.add(Person(id=person_id, name=name, roles=roles, password_hash=password_hash, created_by="console"))
            return
        person = session.get_one(Person, person_id)
        person.password_hash, person.locked = password_hash, False

    def _set_password(self, person_id: str, password_hash: str) -> None:
        with self._database.session(writing=True) as session:
            session.get_one(Person, person_id).password_hash = password_hash

    def _locked(self, person_id: str) -> Person:
        with self._database.session(writing=True) as session:
            person = session.get_one(Person, person_id)
            person.locked = True
        return person


def _reason(person: Person | None, right: bool) -> str:
    """Why not; "" when nothing is in the way. For the audit only: outside, all of these look the same."""
    if person is None:
        return "unknown name"
    if person.disabled:
        return "disabled"
    if person.locked:
        return "locked"
    if person.password_hash is None:
        return "no password"
    return "" if right else "wrong password"


def _refused() -> SignInRefused:
    return SignInRefused(
        N_("Name or password is wrong."),
        hint=N_("After several failures you have to wait. An administrator can give you a link for a new password."),
    )
