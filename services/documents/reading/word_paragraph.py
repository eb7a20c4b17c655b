"""One Word paragraph: its text, and what hangs on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
LEFT_OUT = {W + name for name in ("del", "moveFrom", "pPr", "rPr", "instrText", "delText", "rubyPr", "sdtPr")}
SIGNS = {
    W + "tab": " ",
    W + "ptab": " ",
    W + "br": "\n",
    W + "cr": "\n",
    W + "noBreakHyphen": "-",
}


@dataclass
class Paragraph:
    """boxes: text boxes in it. notes: (footnote or endnote, id) referred to. hidden: hidden text was left out."""

    parts: list[str] = field(default_factory=list)
    boxes: list[Element] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    hidden: bool = False

    @property
    def text(self) -> str:
        return "".join(self.parts)


def paragraph(element: Element) -> Paragraph:
    """What a w:p holds; its text boxes and notes are not looked into."""
    found = Paragraph()
    _walk(element, found)
    return found


def _walk(element: Element, found: Paragraph) -> None:
    for child in element:
        tag = child.tag
        if tag in (W + "t", M + "t"):
            found.parts.append(child.text or "")
        elif tag in SIGNS:
            found.parts.append(SIGNS[tag])
        elif tag == W + "txbxContent":
            found.boxes.append(child)
        elif tag in (W + "footnoteReference", W + "endnoteReference"):
            found.notes.append((tag[len(W) :].removesuffix("Reference"), child.get(W + "id", "")))
        elif tag == MC + "AlternateContent":
            _walk_alternative(child, found)
        elif tag == W + "ruby":
            _walk_ruby(child, found)
        elif tag == W + "r" and _is_hidden(child):
            found.hidden = found.hidden or child.find(W + "t") is not None
        elif tag not in LEFT_OUT:
            _walk(child, found)


def _walk_alternative(element: Element, found: Paragraph) -> None:
    """The first choice; the fallback repeats the same text for old programs."""
    choice = element.find(MC + "Choice")
    chosen = choice if choice is not None else element.find(MC + "Fallback")
    if chosen is not None:
        _walk(chosen, found)


def _walk_ruby(element: Element, found: Paragraph) -> None:
    """A word with its reading: 東京（とうきょう）."""
    base, reading = element.find(W + "rubyBase"), element.find(W + "rt")
    if base is not None:
        _walk(base, found)
    if reading is not None:
        found.parts.append("（")
        _walk(reading, found)
        found.parts.append("）")


def _is_hidden(run: Element) -> bool:
    vanish = run.find(f"{W}rPr/{W}vanish")
    return vanish is not None and vanish.get(W + "val", "true") not in ("0", "false", "off")
