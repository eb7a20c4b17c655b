"""Is extracted text language? Fonts without a Unicode map give text that is only noise."""

from __future__ import annotations

import re
import unicodedata

FOREIGN_SHARE = 0.1
VOWEL_WORD_SHARE = 0.6
ENOUGH_WORDS = 20
_WORD = re.compile(r"[A-Za-z]{4,}")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")


def is_garbage(text: str) -> bool:
    """Whether a page's text is noise: undefined characters, signs only, or Latin words without vowels."""
    visible = [ch for ch in text if not ch.isspace()]
    if not visible:
        return False
    foreign = sum(ch == "\ufffd" or unicodedata.category(ch) in ("Co", "Cn", "Cc", "Cs") for ch in visible)
    if foreign > FOREIGN_SHARE * len(visible):
        return True
    signs = sum(not ch.isalnum() for ch in visible)
    if signs > 0.6 * len(visible) and not any(ch.isalpha() for ch in visible):
        return True
    words = _WORD.findall(text)
    with_vowel = sum(bool(_VOWEL.search(word)) for word in words)
    return len(words) >= ENOUGH_WORDS and with_vowel < VOWEL_WORD_SHARE * len(words)
