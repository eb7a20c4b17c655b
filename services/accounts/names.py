"""Names of people and groups as they are compared: one person, one name, however it is typed."""

from __future__ import annotations

import re
import unicodedata

from services.errors import BadInput
from services.translation import N_

LENGTH = 100  # characters
_NAME = re.compile(r"[\w.@+-]+( [\w.@+-]+)*")


def folded(name: str) -> str:
    """Full-width and capital letters folded, space around cut off: what is stored and looked up."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def checked(name: str) -> str:
    """The folded name. Raises BadInput unless it is letters, digits and . @ + - _ (a space between words)."""
    name = folded(name)
    if not name or len(name) > LENGTH or not _NAME.fullmatch(name):
        raise BadInput(
            N_("This is no name to sign in with."),
            hint=N_("Use letters, digits, dots, dashes or an e-mail address, up to {length} characters."),
            length=LENGTH,
        )
    return name
