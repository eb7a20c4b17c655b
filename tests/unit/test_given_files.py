"""Files given along with a question about code."""

from __future__ import annotations

import pytest

from services.code.given_files import LARGEST_KB, code_file
from services.errors import CorruptFile, EmptyFile, FileTooLarge


@pytest.mark.parametrize(
    "content", ["x = '中'\n".encode(), "x = '中'\n".encode("utf-16"), "\ufeffx = '中'\r\n".encode()]
)
def test_text_is_read_whatever_mark_it_bears(content: bytes) -> None:
    assert code_file("a.py", content).text == "x = '中'\n"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", EmptyFile),
        (b" \n", EmptyFile),
        (b"\x7fELF\x00\x01", CorruptFile),
        (b"\xff\x00\xfa", CorruptFile),
        (b"a" * (LARGEST_KB * 1024 + 1), FileTooLarge),
    ],
)
def test_what_is_no_source_is_refused(content: bytes, error: type) -> None:
    with pytest.raises(error):
        code_file("a.py", content)


def test_a_name_is_one_line_and_not_endless() -> None:
    assert code_file("a\nb.py", b"x").name == "a b.py"
    assert len(code_file("a" * 999, b"x").name) == 100
