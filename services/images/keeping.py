"""Which pictures are whose: those that wait for their question, and those that conversations hold."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Text, cast, select

from db.database import Database
from db.tables import Conversation, Message
from services.errors import NotFound
from services.images.pictures import CleanImage
from services.translation import N_

if TYPE_CHECKING:
    from services.images.store import ImageStore

WAITING_MIB = 200
KIND = "image"


class Pictures:
    """The pictures that people may see: their own, asked about or not. Thread-safe."""

    def __init__(self, database: Database, store: ImageStore) -> None:
        self._store = store
        self._unasked = UnaskedPictures()
        self._held = HeldPictures(database)
        self._keeping = threading.Lock()  # a picture is not discarded while it is being asked about

    def admitted(self, actor_id: str, image: CleanImage) -> None:
        """Hold a new picture for the person until they ask about it."""
        self._unasked.put(actor_id, image)

    def get(self, actor_id: str, sha256: str) -> CleanImage:
        """Raises NotFound for a picture that the person neither uploaded just now nor has in a conversation."""
        if (image := self._unasked.get(actor_id, sha256)) is not None:
            return image
        if not self._held.holds(actor_id, sha256):
            raise NotFound(N_("The picture is no longer kept."), hint=N_("Upload it again."))
        return self._store.get(sha256)

    @contextmanager
    def kept(self, actor_id: str, images: Sequence[CleanImage]) -> Iterator[None]:
        """Keep the pictures; the block stores the question that names them. Both, or neither. Raises StorageFull."""
        sha256s = [image.sha256 for image in images]
        with self._keeping:
            try:
                for image in images:
                    self._store.put(image)
                    self._store.keep_for_audit(image)
                yield
            except BaseException:
                self._store.discard(self._held.unneeded(sha256s))
                raise
        self._unasked.drop(actor_id, sha256s)

    @contextmanager
    def let_go(self, conversation_id: str) -> Iterator[None]:
        """The block deletes the conversation; then its pictures go that no conversation of anybody has."""
        with self._keeping:
            named = self._held.of_conversation(conversation_id)
            yield
            self._store.discard(self._held.unneeded(named))


class UnaskedPictures:
    """Admitted pictures that nobody has asked about yet, in memory, by person; the oldest make room. Thread-safe."""

    def __init__(self, limit_mib: int = WAITING_MIB) -> None:
        self._limit_bytes = limit_mib * 2**20
        self._guard = threading.Lock()
        self._pictures: OrderedDict[tuple[str, str], CleanImage] = OrderedDict()

    def put(self, actor_id: str, image: CleanImage) -> None:
        with self._guard:
            self._pictures[actor_id, image.sha256] = image
            self._pictures.move_to_end((actor_id, image.sha256))
            while len(self._pictures) > 1 and self._size_bytes() > self._limit_bytes:
                self._pictures.popitem(last=False)

    def get(self, actor_id: str, sha256: str) -> CleanImage | None:
        with self._guard:
            return self._pictures.get((actor_id, sha256))

    def drop(self, actor_id: str, sha256s: Collection[str]) -> None:
        with self._guard:
            for sha256 in sha256s:
                self._pictures.pop((actor_id, sha256), None)

    def _size_bytes(self) -> int:
        return sum(len(image.data) for image in self._pictures.values())


class HeldPictures:
    """The pictures of conversations, as their questions name them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_conversation(self, conversation_id: str) -> set[str]:
        """SHA-256 of every picture asked about in it."""
        chosen = select(Message.content).where(Message.conversation_id == conversation_id, Message.kind == "question")
        with self._database.session() as session:
            return {sha256 for content in session.scalars(chosen) for sha256 in content.get("images", ())}

    def holds(self, actor_id: str, sha256: str) -> bool:
        """Whether a conversation of the person has the picture."""
        return self._named_in_any(sha256, actor_id)

    def unneeded(self, sha256s: Collection[str]) -> set[str]:
        """Those that no conversation of anybody has."""
        return {sha256 for sha256 in sha256s if not self._named_in_any(sha256)}

    def _named_in_any(self, sha256: str, actor_id: str | None = None) -> bool:
        """The hash is looked for in the questions' JSON as text, then in what that holds."""
        chosen = (
            select(Message.content)
            .join(Conversation, Conversation.id == Message.conversation_id)
            .where(Conversation.kind == KIND, Message.kind == "question")
            .where(cast(Message.content, Text).contains(sha256, autoescape=True))
        )
        if actor_id is not None:
            chosen = chosen.where(Conversation.actor_id == actor_id)
        with self._database.session() as session:
            return any(sha256 in content.get("images", ()) for content in session.scalars(chosen))
