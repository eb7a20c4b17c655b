"""What a question is about, as far as the choice of a model depends on it."""

from __future__ import annotations

import re

_CODE = re.compile(
    r"```|\b(python|java|javascript|typescript|sql|regex|html|css|c\+\+|bash|powershell)\b|代码|编程|函数|脚本|正则"
    r"|\b(write|fix|debug|refactor|explain)\b.{0,40}\b(code|function|script|class|query|program)\b"
    r"|\bdef \w+\(|\bpublic static\b|=>\s*{|\bTraceback\b|\w+Error:",
    re.IGNORECASE,
)


def is_about_code(question: str) -> bool:
    """Whether a model made for code should word the answer."""
    return _CODE.search(question) is not None
