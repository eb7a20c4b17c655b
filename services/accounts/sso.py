"""Single sign-on: from the claims that Streamlit verified to a person of the portal.

Streamlit's st.login (Authlib) talks to the provider and signs a cookie with the claims. That cookie's hash is the
token of an ordinary session here, so that it expires, can be ended and disabled like any other.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.account_tables import Person
from db.database import Database
from services.accounts.names import folded
from services.accounts.sessions import Sessions
from services.audit.details import SignInDetail
from services.audit.events import Action
from services.audit.trail import AuditTrail
from services.errors import SignInRefused
from services.permissions import Actor, Role
from services.settings import Settings
from services.translation import N_


class SingleSignOn:
    """Sessions of people whom the company's own provider vouches for. Thread-safe."""

    def __init__(self, database: Database, settings: Settings, audit: AuditTrail, sessions: Sessions) -> None:
        self._database = database
        self._settings = settings
        self._audit = audit
        self._sessions = sessions

    @property
    def offered(self) -> bool:
        return bool(self._settings.oidc_metadata_url)

    def identify(self, cookie: str, claims: Mapping, *, address: str, browser: str) -> Actor | None:
        """Who the claims are about; None when their session is over (they have to sign in at the provider again).

        cookie: the value that Streamlit signed and verified. claims: with iss, sub, and what the roles are made of.
        Raises SignInRefused for somebody without a role here, or disabled.
        """
        token = self.token(cookie)
        subject = f"{claims.get('iss', '')}|{claims.get('sub', '')}"
        with self._database.session() as session:
            person = session.scalar(select(Person).where(Person.subject == subject))
        if self._sessions.known(token):
            actor = self._sessions.actor(token, address=address)
            return actor if actor and person and actor.id == person.id else None  # a cookie in parts names nobody
        person_id = person.id if person else secrets.token_hex(16)
        roles = roles_of(claims, self._settings)
        detail = SignInDetail(method="sso", reason=_reason(person, roles))
        somebody = Actor(id=person_id, name=_name(claims), roles=frozenset(), address=address)
        with self._audit.act(somebody, Action.SIGN_IN, detail=detail):
            if detail.reason:
                raise _refused()
            self._keep(person_id, subject, claims, roles)
            self._sessions.begin(person_id, method="sso", address=address, browser=browser, token=token)
        return self._sessions.actor(token, address=address)

    def _keep(self, person_id: str, subject: str, claims: Mapping, roles: set[str]) -> None:
        """The person, with what the provider says of them today."""
        with self._database.session(writing=True) as session:
            person = session.get(Person, person_id) or _new_person(session, person_id, claims, subject)
            person.roles = sorted(roles)
            person.email = str(claims.get("email", ""))[:254]
            person.full_name = str(claims.get("name", ""))[:200]

    def token(self, cookie: str) -> str:
        """The session token that stands for Streamlit's cookie."""
        return f"sso:{cookie}"


def roles_of(claims: Mapping, settings: Settings) -> set[str]:
    """Roles by settings.oidc_roles; an e-mail counts only when the provider says that it is verified."""
    groups = claims.get(settings.oidc_groups_claim) or []
    keys = {f"group:{group}" for group in ([groups] if isinstance(groups, str) else groups)}
    email = folded(str(claims.get("email", "")))
    if email and claims.get("email_verified") is True:
        keys |= {f"email:{email}", f"domain:{email.rpartition('@')[2]}"}
    named = {role for key, roles in settings.oidc_roles.items() if key in keys for role in roles}
    return named & set(Role)


def _name(claims: Mapping) -> str:
    return folded(str(claims.get("preferred_username") or claims.get("email") or claims.get("sub", "")))[:90]


def _reason(person: Person | None, roles: set[str]) -> str:
    """Why not; "" when nothing is in the way."""
    if person is not None and person.disabled:
        return "disabled"
    return "" if roles else "no role"


def _new_person(session: Session, person_id: str, claims: Mapping, subject: str) -> Person:
    """A person with a name nobody has yet: the same name with a password is somebody else's."""
    name = wanted = _name(claims)
    number = 1
    while session.scalar(select(Person.id).where(Person.name == name)):
        number += 1
        name = f"{wanted}.{number}"
    person = Person(id=person_id, name=name, subject=subject, roles=[], created_by="sso")
    session.add(person)
    return person


def _refused() -> SignInRefused:
    return SignInRefused(
        N_("Your account may not use this portal."), hint=N_("Ask an administrator of the portal for a role.")
    )
