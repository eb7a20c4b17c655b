"""What a program says is text, and nothing but text."""

from __future__ import annotations

import platform

import pytest

from services.sandbox import seccomp
from services.sandbox.running import safe_text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        ("a\u202eb\u2066c".encode(), "abc"),
        (b"one\r\ntwo\tthree\x08\x00", "one\ntwo\tthree"),
        (b"\xff\xfe ok", "\ufffd\ufffd ok"),
        ("智库".encode(), "智库"),
    ],
)
def test_output_loses_what_moves_or_hides(said: bytes, shown: str) -> None:
    assert safe_text(said) == shown


def test_the_filter_is_whole_steps_for_known_machines_and_empty_for_others() -> None:
    assert all(len(seccomp.program(machine)) % 8 == 0 and seccomp.program(machine) for machine in seccomp.AUDIT_ARCH)
    assert seccomp.program("riscv64") == b""
    assert platform.machine() in seccomp.AUDIT_ARCH
