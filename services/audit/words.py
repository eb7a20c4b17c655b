"""The full-text index of the audit: the words of an event, and its facets as words of their own.

Chinese is cut into words as in the search of documents. A facet (who, what, with what outcome) is in the index too,
so that a filter of several conditions meets inside it: a frequent word of a person who used it once is found at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from services.audit.events import Event
from services.retrieval.lexical import content_tokens, tokens

_SEARCHED = ("question", "answer", "meaning", "requirement", "code", "title", "name", "title_before", "title_after")


def indexed(event: Event) -> str:
    """What the index stores of an event. Single words only: the tokenizer of FTS5 takes the others apart itself."""
    texts = [event.actor_name, event.target, *(str(event.detail.get(name, "")) for name in _SEARCHED)]
    words = {word for text in texts if text for word in tokens(text) if word.isalnum()}
    facets = [facet("actor", event.actor_id), facet("action", event.action), facet("outcome", event.outcome)]
    return " ".join([*facets, *sorted(words)])


def facet(kind: str, value: str) -> str:
    """A word that nobody writes: x, the kind, x, a hash."""
    return f"x{kind}x{sha256(value.encode('utf-8', 'replace')).hexdigest()[:16]}"


def match(text: str, facets: Iterable[str]) -> str | None:
    """An FTS5 expression: all the words of the text and all the facets. None when there is no word in it at all.

    Every word is quoted: nothing in a text is an operator.
    """
    words = [word for word in content_tokens(text) if word.isalnum()] if text else []
    wanted = [*dict.fromkeys(words), *facets]
    return " AND ".join(f'"{word}"' for word in wanted) or None
