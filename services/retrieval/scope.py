"""Which collections an actor may search."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from db.database import Database
from db.tables import Collection
from services.permissions import Actor, Permission, check


def readable_collections(database: Database, actor: Actor, wanted: Sequence[int] | None = None) -> list[int]:
    """Ids of the collections the actor may read, of the wanted ones (None: of all). Unknown ids are left out.

    Raises Denied when the actor may not read documents at all.
    """
    check(actor, Permission.READ_DOCUMENTS)
    with database.session() as session:
        existing = list(session.scalars(select(Collection.id).order_by(Collection.id)))
    return existing if wanted is None else [id_ for id_ in existing if id_ in set(wanted)]
