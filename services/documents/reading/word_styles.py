"""Headings and numbers of Word paragraphs, from styles.xml and numbering.xml."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from services.documents.reading.word_paragraph import W

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

HEADING_NAME = re.compile(r"(?:heading|标题|標題)\s*([1-9])$", re.IGNORECASE)
BODY_LEVEL = 9
MAX_STYLE_DEPTH = 20
ROMAN = [(1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")]
ROMAN += [(10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")]
HAN_DIGITS = "〇一二三四五六七八九"


def _value(element: Element | None, path: str) -> str | None:
    found = element.find(path) if element is not None else None
    return found.get(W + "val") if found is not None else None


class Styles:
    """Paragraph styles with what they inherit."""

    def __init__(self, part: Element | None) -> None:
        styles = part.findall(W + "style") if part is not None else []
        self._by_id = {style.get(W + "styleId", ""): style for style in styles}

    def outline_level(self, paragraph: Element) -> int | None:
        """0 for the highest headings; None for body text."""
        own = _value(paragraph, f"{W}pPr/{W}outlineLvl")
        if own is not None:
            return _level(own)
        for style in self._chain(paragraph):
            if match := HEADING_NAME.match(_value(style, W + "name") or ""):
                return int(match[1]) - 1
            if (level := _value(style, f"{W}pPr/{W}outlineLvl")) is not None:
                return _level(level)
        return None

    def numbering(self, paragraph: Element) -> tuple[str, int] | None:
        """(numId, level) of a numbered paragraph, by itself or by its style."""
        for holder in (paragraph, *self._chain(paragraph)):
            properties = holder.find(f"{W}pPr/{W}numPr")
            if properties is not None and (num_id := _value(properties, W + "numId")):
                level = _value(properties, W + "ilvl") or "0"
                return (num_id, int(level)) if level.isdigit() else None
        return None

    def _chain(self, paragraph: Element) -> list[Element]:
        chain: list[Element] = []
        style_id = _value(paragraph, f"{W}pPr/{W}pStyle")
        while style_id in self._by_id and len(chain) < MAX_STYLE_DEPTH:
            chain.append(self._by_id[style_id])
            style_id = _value(chain[-1], W + "basedOn")
        return chain


def _level(value: str) -> int | None:
    return int(value) if value.isdigit() and int(value) < BODY_LEVEL else None


class Numbering:
    """Counts numbered paragraphs in document order, as Word does."""

    def __init__(self, part: Element | None) -> None:
        self._levels: dict[str, dict[int, Element]] = {}
        self._abstract_of: dict[str, str] = {}
        self._counts: dict[str, dict[int, int]] = defaultdict(dict)
        self._restarts: dict[str, dict[int, int]] = defaultdict(dict)  # numId → level → first number, until used
        for abstract in part.findall(W + "abstractNum") if part is not None else []:
            levels = {int(lvl.get(W + "ilvl", "0")): lvl for lvl in abstract.findall(W + "lvl")}
            self._levels[abstract.get(W + "abstractNumId", "")] = levels
        for number in part.findall(W + "num") if part is not None else []:
            num_id = number.get(W + "numId", "")
            self._abstract_of[num_id] = _value(number, W + "abstractNumId") or ""
            for override in number.findall(W + "lvlOverride"):
                if (start := _value(override, W + "startOverride") or "").isdigit():
                    self._restarts[num_id][int(override.get(W + "ilvl", "0"))] = int(start)

    def label(self, numbering: tuple[str, int] | None) -> str:
        """The number that Word prints before the next paragraph of this list and level; bullets give ""."""
        if numbering is None or numbering[0] not in self._abstract_of:
            return ""
        abstract, level = self._abstract_of[numbering[0]], numbering[1]
        levels, counts = self._levels.get(abstract, {}), self._counts[abstract]
        if level not in levels or _value(levels[level], W + "numFmt") in ("bullet", "none"):
            return ""
        restart = self._restarts[numbering[0]].pop(level, None)
        counts[level] = restart or (counts[level] + 1 if level in counts else _start(levels[level]))
        for deeper in [key for key in counts if key > level]:
            del counts[deeper]
        pattern = _value(levels[level], W + "lvlText") or ""

        def number(match: re.Match) -> str:
            at = int(match[1]) - 1
            if at not in levels:
                return ""
            style = "decimal" if at < level else _value(levels[at], W + "numFmt") or "decimal"
            return _format(counts.get(at, _start(levels[at])), style)

        return re.sub(r"%([1-9])", number, pattern).strip()


def _start(level: Element) -> int:
    value = _value(level, W + "start") or "1"
    return int(value) if value.isdigit() else 1


def _format(number: int, style: str) -> str:
    if style in ("lowerLetter", "upperLetter") and number > 0:
        letters = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letters.upper() if style == "upperLetter" else letters
    if style in ("lowerRoman", "upperRoman"):
        return _roman(number).upper() if style == "upperRoman" else _roman(number)
    if style.startswith(("chinese", "ideograph", "japanese", "taiwanese")) and 0 < number < 100:
        tens, ones = divmod(number, 10)
        return ("" if tens < 2 else HAN_DIGITS[tens]) + ("十" if tens else "") + (HAN_DIGITS[ones] if ones else "")
    return str(number)


def _roman(number: int) -> str:
    found = ""
    for value, sign in ROMAN:
        count, number = divmod(number, value)
        found += sign * min(count, 20)
    return found
