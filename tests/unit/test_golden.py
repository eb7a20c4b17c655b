"""What passes for an answer, and what shows that a model is broken."""

from __future__ import annotations

import pytest

from services.engines.golden import DEFAULTS, GoldenPrompt, check, is_language
from services.errors import GoldenPromptFailed

ANSWERS = [
    "I am Qwen, a large language model created by Alibaba Cloud.",
    "你好！我是通义千问，由阿里云开发的大型语言模型。",
    "5",
    "Je suis un modèle de langage – enchanté !",
    "The sum is 5 (five), “as expected”.",
]
GARBAGE = [
    "",
    "   \n",
    "!!!!!!!!!!!!!!!!!!!!!!!!",
    "........",
    "the the the the the the the the the",
    "的的的的的的的的的的",
    "\ufffd\ufffd\ufffd\ufffd",
    "ðŁĺĢ āļ ΨЖ اا ሀሀ កក ᎠᎠ ཀཀ",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_language(answer: str) -> None:
    assert is_language(answer)


@pytest.mark.parametrize("answer", GARBAGE)
def test_garbage_is_not(answer: str) -> None:
    assert not is_language(answer)


def test_every_prompt_is_asked_and_the_first_bad_answer_is_told() -> None:
    asked = []

    def generate(messages: list[dict], max_tokens: int) -> str:
        asked.append(messages[0]["content"])
        return "Rome." if len(asked) == 2 else "Paris."

    prompts = [GoldenPrompt(f"Capital {n}?", ("paris",)) for n in range(3)]
    with pytest.raises(GoldenPromptFailed, match=r"“Capital 1\?” with “Rome\.”"):
        check(generate, prompts)
    assert asked == ["Capital 0?", "Capital 1?"]


def test_without_expected_words_any_language_will_do() -> None:
    check(lambda _messages, _max_tokens: "我是一个助手。", list(DEFAULTS.values()))
