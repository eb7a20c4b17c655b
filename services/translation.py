"""gettext in two languages: msgids are English; locales/<language>/LC_MESSAGES/zhiku.po translates them."""

from __future__ import annotations

import gettext
import io
from functools import cache
from pathlib import Path
from typing import Literal

from services.errors import PortalError

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")
LOCALES = Path(__file__).resolve().parent.parent / "locales"


def N_(message: str) -> str:
    """Mark a msgid for extraction where it is written, and translate it later where it is shown."""
    return message


@cache
def catalogue(language: Language) -> gettext.NullTranslations:
    """The translations of one language, compiled from its .po file in memory (no build step)."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    path = LOCALES / language / "LC_MESSAGES" / "zhiku.po"
    if not path.exists():
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def translate(message: str, language: Language) -> str:
    """The message in the language; English msgids stand for themselves. An empty message stays empty."""
    return catalogue(language).gettext(message) if message else ""


def explain(error: PortalError, language: Language) -> tuple[str, str]:
    """(message, hint) of an error in the language, placeholders filled."""
    return (
        translate(error.message, language).format(**error.params),
        translate(error.hint, language).format(**error.params),
    )


def language_of(text: str) -> Language:
    """zh when the text contains a fair share of Chinese characters, else en."""
    han = sum("\u4e00" <= ch <= "\u9fff" for ch in text)
    letters = sum(ch.isalpha() for ch in text)
    return "zh" if han and han >= 0.2 * letters else "en"
