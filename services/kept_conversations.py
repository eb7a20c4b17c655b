"""What a person can do with their own conversations, whichever screen they were held on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.audit.events import Action
from services.conversation_export import to_markdown
from services.permissions import Actor, Permission, check
from services.translation import Language

if TYPE_CHECKING:
    from collections.abc import Sequence

    from db.tables import Conversation
    from services.answer_audit import Recorder
    from services.conversations import Conversations, Rating, Turn


class KeptConversations:
    """Base of the services that answer: the list, history, names, ratings and export of one kind of conversation.

    Every method raises NotFound for another actor's conversation, and for one of another kind.
    """

    def __init__(self, conversations: Conversations, recorder: Recorder) -> None:
        self._conversations = conversations
        self._recorder = recorder

    def history(self, conversation_id: str, actor: Actor) -> list[Turn]:
        """The turns, oldest first."""
        check(actor, Permission.ASK)
        return self._conversations.turns(conversation_id, actor_id=actor.id)

    def conversations(self, actor: Actor, limit: int = 20) -> list[Conversation]:
        """The actor's own conversations, last used first."""
        check(actor, Permission.ASK)
        return self._conversations.recent(actor_id=actor.id, limit=limit)

    def rename(self, conversation_id: str, title: str, actor: Actor) -> None:
        self._recorder.require(actor, Action.CONVERSATION_RENAME)
        with self._recorder.act(actor, Action.CONVERSATION_RENAME, conversation_id):
            self._conversations.rename(conversation_id, title, actor_id=actor.id)

    def delete(self, conversation_id: str, actor: Actor) -> None:
        """Delete the conversation with all its messages."""
        self._recorder.require(actor, Action.CONVERSATION_DELETE)
        with self._recorder.act(actor, Action.CONVERSATION_DELETE, conversation_id):
            self._conversations.delete(conversation_id, actor_id=actor.id)

    def rate(self, conversation_id: str, question_id: int, rating: Rating, actor: Actor, comment: str = "") -> None:
        """Keep what the person thinks of the answer to their question; a second rating takes the first one's place."""
        self._recorder.require(actor, Action.FEEDBACK)
        with self._recorder.act(actor, Action.FEEDBACK, conversation_id, rating):
            self._conversations.rate(conversation_id, question_id, rating, comment, actor_id=actor.id)

    def export_markdown(self, conversation_id: str, actor: Actor, language: Language) -> str:
        """The conversation as a Markdown document; `language` is that of its headings."""
        self._recorder.require(actor, Action.EXPORT)
        with self._recorder.act(actor, Action.EXPORT, conversation_id):
            conversation = self._conversations.get(conversation_id, actor_id=actor.id)
            return self._as_markdown(conversation.title, self.history(conversation_id, actor), language)

    def _as_markdown(self, title: str, turns: Sequence[Turn], language: Language) -> str:
        return to_markdown(title, turns, language)
