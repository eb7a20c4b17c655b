"""Masking: what counts as personal data, what does not, and that no text can make it slow."""

from __future__ import annotations

import time

import pytest

from services.audit.masking import PLACEHOLDERS, count, find, identity_check_digit, mask, passes_luhn
from services.audit.masking_evaluation import evaluate_masking
from services.audit.masking_sentences import generate
from services.audit.masking_values import RARE, VALUES

FOUND = [
    ("邮箱zhang.san@corp.com.cn请回", "邮箱[e-mail]请回"),
    ("<O'Brien+x@mail.example.museum>", "<[e-mail]>"),
    ("ｚｈａｎｇ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[e-mail]"),
    ("zhang.wei(at)example.com", "[e-mail]"),
    ("13812345678@163.com", "[e-mail]"),
    ("电话13812345678请回", "电话[phone]请回"),
    ("手机１３８－１２３４－５６７８", "手机[phone]"),
    ("138 1234 5678", "[phone]"),
    ("Tel13812345678", "Tel[phone]"),
    ("+86 138-1234-5678", "[phone]"),
    ("(+86)13812345678", "[phone]"),
    ("008613812345678", "[phone]"),
    ("13912345678,13812345678/13712345678-13612345678", "[phone],[phone]/[phone]-[phone]"),
    ("010-88886666转8001", "[phone]"),
    ("（0755）26881234", "[phone]"),
    ("057188123456", "[phone]"),
    ("+44 20 7946 0958", "[phone]"),
    ("+1 (415) 555-2671", "[phone]"),
    ("一三八一二三四五六七八", "[phone]"),
    ("身份证11010519491231002X号", "身份证[id]号"),
    ("11010519491231002x", "[id]"),
    ("110105 19491231 002X", "[id]"),
    ("１１０１０５１９４９１２３１００２Ｘ", "[id]"),
    ("旧证110105491231002", "旧证[id]"),
    ("卡号6222021234567890128", "卡号[card]"),
    ("4111-1111-1111-1111 exp 12/26", "[card] exp 12/26"),
    ("3782 822463 10005", "[card]"),
    ("http://10.0.0.1:8080/x", "http://[ip]:8080/x"),
    ("IP为１９２．１６８．１．２０", "IP为[ip]"),
    ("地址：2001:db8::1，", "地址：[ip]，"),
    ("src:2001:db8:0:0:1:0:0:1", "src:[ip]"),
    ("[fe80::1%eth0]:443", "[[ip]]:443"),
    ("GB82 WEST 1234 5698 7654 32 and", "[iban] and"),
    ("汇到de89370400440532013000谢谢", "汇到[iban]谢谢"),
]
LEFT_ALONE = [
    "张三和 Anna Müller 在北京市朝阳区建国路1号",
    "金额13812345678元，¥13812345678，13812345678.50",
    "比例0.13812345678",
    "订单号13812345678，order no. 4111111111111111",
    "流水号：20240131123456789012",
    "2026-11-22 21:30:05，20261122213005，1763847005123",
    "GB/T 7714-2015，ISBN 978-7-302-12345-6，ISBN 9787302123453",
    "第 135-1388 页，A1203 会议室，端口 8501，错误码 0x80070005",
    "版本 1.2.3.4，v10.0.0.1，Chrome/120.0.0.0，第1.2.3.4节，1.3.6.1.4.1.311",
    "127.0.0.1 ::1 0.0.0.0 255.255.255.0",
    "12:30:45，00:1a:2b:3c:4d:5e，std::vector，a::b",
    "110105194912310021 的校验码不对",
    "4111 1111 1111 1112 不合 Luhn",
    "400-810-8888，10086，95588",
    "logo@2x.png，react@18.2.0，root@node1，git@github.com:org/repo.git，@user1234",
    "550e8400-e29b-41d4-a716-446655440000",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "1 3 5 7 9 11 13 15 17 19",
    "GB82 WEST 1234 5698 7654 33",
    "91110108MA01ABCDE5",
]
FLOODS = [
    "1",
    "1 ",
    "1-",
    "@",
    "a@",
    "a.",
    "+1",
    "4111 ",
    "138 1234 ",
    "0:",
    "1.",
    "GB82",
    "(0",
    "a.a@",
    "１－",
    "1 3 ",
]


@pytest.mark.parametrize(("text", "masked"), FOUND)
def test_personal_data_becomes_a_placeholder(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_is_not_personal_data_stays(text: str) -> None:
    assert mask(text) == text


def test_four_numbers_with_dots_are_an_address_unless_words_say_version() -> None:
    assert mask("1.2.3.4") == "[ip]"
    assert mask("version 1.2.3.4") == "version 1.2.3.4"


def test_the_most_specific_kind_takes_the_characters() -> None:
    assert [span.kind for span in find("11010519491231002X 4111111111111111 13812345678@qq.com")] == [
        "id",
        "card",
        "e-mail",
    ]


def test_everything_else_of_the_text_stays_character_by_character() -> None:
    text = "１：Ａ\u3000e\u0301“x”\r\n\x00😀 {} 13812345678 ＠"
    assert mask(text) == text.replace("13812345678", "[phone]")


def test_masking_twice_changes_nothing() -> None:
    for text, masked in FOUND:
        assert mask(mask(text)) == masked
    assert not any(find(placeholder) for placeholder in PLACEHOLDERS.values())


def test_counts_by_kind() -> None:
    assert count("a@b.cn 与 c@d.cn，13812345678") == {"e-mail": 2, "phone": 1}
    assert count("") == {}


def test_check_digits_of_published_examples() -> None:
    assert identity_check_digit("11010519491231002") == "X"  # the example of GB 11643-1999
    assert identity_check_digit("44052418800101001") == "4"
    assert all(map(passes_luhn, ("4111111111111111", "378282246310005", "5555555555554444")))
    assert not passes_luhn("4111111111111112")


@pytest.mark.parametrize("flood", FLOODS)
def test_no_text_makes_masking_slow(flood: str) -> None:
    """Linear: four times the text takes about four times as long, and 20,000 characters about a quarter second."""
    short, long = (_seconds((flood * 20_000)[:length]) for length in (5_000, 20_000))
    assert long < 1
    assert long < 8 * short + 0.02


def _seconds(text: str) -> float:
    """The best of two, in time of this process."""

    def once() -> float:
        began = time.process_time()
        mask(text)
        return time.process_time() - began

    return min(once() for _ in range(2))


def test_the_made_up_sentences_are_the_same_for_the_same_seed() -> None:
    assert generate("zh", 60, 1) == generate("zh", 60, 1)
    assert generate("zh", 60, 1) != generate("zh", 60, 2)
    for sentence in generate("en", 300, 1):
        assert all(sentence.text[span.start : span.end].strip() for span in sentence.spans)


def test_masking_finds_nearly_all_of_every_kind_in_both_languages() -> None:
    """Bounds below what is measured; formats that are known to be missed are among the sentences."""
    result = evaluate_masking(1500)
    for language in ("zh", "en"):
        assert result[language]["recall"] > 0.95
        assert result[language]["precision"] > 0.94
        for kind in PLACEHOLDERS:
            assert result[language]["kinds"][kind]["recall"] > 0.94, kind
    assert {"phone/landline, no area", "phone/US without +1"} <= set(result["missed"])


def test_every_rare_format_is_one_that_is_made() -> None:
    assert {f"{kind}/{name}" for kind in VALUES for name in VALUES[kind]} >= RARE
