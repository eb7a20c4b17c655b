"""The four sections out of what models really write."""

import pytest

from services.code.sections import parse

WHOLE = """## What it does
Adds two numbers.

## Code
```python
def add(a, b):
    return a + b
```

## Tests
```python
assert add(1, 2) == 3
```

## Notes
- Numbers only.
"""
CHINESE = """一、功能说明：
计算两个数的和。

**二、代码**
```python
def add(a, b):
    return a + b
```
### 3. 测试用例
```python
assert add(1, 2) == 3
```
4. **注意事项**
- 只支持数字。
"""


@pytest.mark.parametrize("text", [WHOLE, CHINESE])
def test_all_four_are_found_whatever_the_headings_look_like(text):
    sections = parse(text)
    assert sections.complete
    assert sections.code == "def add(a, b):\n    return a + b"
    assert sections.tests == "assert add(1, 2) == 3"
    assert "#" not in sections.summary + sections.notes


def test_without_headings_prose_before_the_code_is_the_summary_and_after_it_the_notes():
    sections = parse(
        "This adds.\n```python\ndef add(a, b):\n    return a + b\n```\n"
        "Try it:\n```python\nassert add(1, 1) == 2\n```\nDone."
    )
    assert (sections.summary, sections.tests) == ("This adds.", "assert add(1, 1) == 2")
    assert sections.notes == "Try it:\n\nDone."


def test_tests_in_the_same_block_are_taken_out_of_the_code():
    sections = parse("```python\ndef add(a, b):\n    return a + b\n\ndef test_add():\n    assert add(1, 2) == 3\n```")
    assert sections.code == "def add(a, b):\n    return a + b"
    assert sections.tests.startswith("def test_add")


def test_a_comment_in_the_code_is_no_heading():
    sections = parse("```python\n# Test\nx = 1\n# 代码\n```\n")
    assert sections.code == "# Test\nx = 1\n# 代码"


def test_a_block_that_was_never_closed_is_code_to_the_end():
    assert parse("## Code\n```java\nclass A {\n}").code == "class A {\n}"


def test_every_prefix_can_be_parsed_and_the_code_only_grows():
    lengths = [len(parse(WHOLE[:end]).code) for end in range(len(WHOLE.partition("## Tests")[0]))]
    assert lengths == sorted(lengths)


def test_text_on_the_line_of_a_heading_belongs_to_its_section():
    assert parse("功能说明：计算两数之和。\n```python\nx = 1\n```").summary == "计算两数之和。"


def test_a_sentence_that_begins_with_a_headings_word_is_no_heading():
    sections = parse("Code is written below and it works.\n```python\nx = 1\n```")
    assert sections.summary == "Code is written below and it works."


def test_an_example_of_use_does_not_take_the_place_of_the_code():
    sections = parse("```python\ndef add(a, b):\n    return a + b\n```\n```python\nprint(add(1, 2))\n```")
    assert "def add" in sections.code


def test_nothing_at_all_gives_empty_sections():
    assert parse("") == parse("\n\n")
    assert not parse("").complete


@pytest.mark.parametrize("source", ["-" * 7000, "x = " + "-" * 3000, "(" * 5000])
def test_python_that_the_parser_gives_up_on_is_code_all_the_same(source):
    assert parse(f"```python\n{source}\n```").code == source
