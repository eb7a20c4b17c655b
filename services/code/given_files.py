"""Files that a person gives along with a question about code: text, and not too much of it."""

from __future__ import annotations

from services.code.answer import CodeFile
from services.errors import CorruptFile, EmptyFile, FileTooLarge
from services.translation import N_

LARGEST_KB = 200
LONGEST_NAME = 100  # characters; the name is for display only


def code_file(name: str, content: bytes) -> CodeFile:
    """Raises UnreadableFile for what is empty, too large or no text (UTF-8, or UTF-16 with its mark)."""
    if len(content) > LARGEST_KB * 1024:
        raise FileTooLarge(
            N_("The file is larger than {limit} KB."),
            hint=N_("Give only the part that the question is about."),
            limit=LARGEST_KB,
        )
    text = _text(content)
    if not text.strip():
        raise EmptyFile(N_("The file is empty."), hint=N_("Choose another file."))
    return CodeFile(" ".join(name.split())[:LONGEST_NAME], text.replace("\r\n", "\n"))


def _text(content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _no_text() from error
    if "\0" in text:
        raise _no_text()
    return text


def _no_text() -> CorruptFile:
    return CorruptFile(N_("This is not a text file."), hint=N_("Give source code as text, in UTF-8."))
