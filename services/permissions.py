"""Who may do what. Pages call require() with these; every public service method checks again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.errors import Denied
from services.translation import N_


class Permission(StrEnum):
    ASK = "ask"
    READ_DOCUMENTS = "read_documents"  # of the collections one is a member of
    EDIT_DOCUMENTS = "edit_documents"  # in the collections one is an editor of
    RUN_MODELS = "run_models"
    MANAGE_COLLECTIONS = "manage_collections"  # their names and members, not their contents
    MANAGE_PEOPLE = "manage_people"
    READ_AUDIT = "read_audit"


class Role(StrEnum):
    USER = "user"
    ADMIN = "admin"
    AUDITOR = "auditor"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.USER: frozenset({Permission.ASK, Permission.READ_DOCUMENTS, Permission.EDIT_DOCUMENTS}),
    Role.ADMIN: frozenset(Permission) - {Permission.READ_AUDIT},
    Role.AUDITOR: frozenset({Permission.READ_AUDIT}),
}


@dataclass(frozen=True)
class Actor:
    """The person (or the console) on whose behalf a service acts, as of the request. address: where they sit."""

    id: str
    name: str
    roles: frozenset[Role]
    address: str = ""

    def may(self, permission: Permission) -> bool:
        return any(permission in GRANTS[role] for role in self.roles)


# Whoever may run cli.py on the server: all roles, and every collection.
CONSOLE = Actor(id="console", name="console", roles=frozenset(Role))


def check(actor: Actor, permission: Permission) -> None:
    """Raise Denied unless one of the actor's roles grants the permission."""
    if not actor.may(permission):
        raise Denied(N_("You may not do this."), hint=N_("Ask an administrator for the right role."))
