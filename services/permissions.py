"""Who may do what. Pages call require() with these; every public service method checks again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.errors import Denied
from services.translation import N_


class Permission(StrEnum):
    ASK = "ask"
    READ_DOCUMENTS = "read_documents"
    EDIT_DOCUMENTS = "edit_documents"
    RUN_MODELS = "run_models"


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"
    AUDITOR = "auditor"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.USER: frozenset({Permission.ASK, Permission.READ_DOCUMENTS, Permission.EDIT_DOCUMENTS}),
    Role.ADMIN: frozenset(Permission),
    Role.AUDITOR: frozenset(),
}


@dataclass(frozen=True)
class Actor:
    """The person (or the console) on whose behalf a service acts."""

    id: str
    name: str
    roles: frozenset[Role]

    def may(self, permission: Permission) -> bool:
        return any(permission in GRANTS[role] for role in self.roles)


LOCAL_USER = Actor(id="local", name="local", roles=frozenset({Role.USER, Role.ADMIN}))
CONSOLE = Actor(id="console", name="console", roles=frozenset({Role.USER, Role.ADMIN}))


def check(actor: Actor, permission: Permission) -> None:
    """Raise Denied unless one of the actor's roles grants the permission."""
    if not actor.may(permission):
        raise Denied(N_("You may not do this."), hint=N_("Ask an administrator for the right role."))
