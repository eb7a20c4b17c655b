"""What of a sentence must stand in its source: its numbers, names and quotations.

Everything is compared after folding: full-width and ligature forms unified, lower case, words that a line break cut
put together, no space between Chinese characters; numbers as values, so that 三十天 meets "30 days".
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

from services.retrieval import lexical
from services.retrieval.lexical import segmenter, tokens
from services.retrieval.words import number_words, word_list

_HAN = "\u4e00-\u9fff"
_DIGITS = {ch: n for n, ch in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_MULTIPLES = _SCALES | {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}

_ARABIC = re.compile(
    r"(?<![a-z0-9_.])(\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s*(%|percent\b|per cent\b)?"
    r"\s*(hundred|thousand|million|billion|百|千|万|亿)?",
)
_ARABIC_INSIDE = re.compile(r"\d+")
_CHINESE = re.compile(rf"(百分之)?([{''.join(_DIGITS)}{''.join(_SCALES)}]+)")
_MEASURED = "天日年月周个次条页人元名位岁项倍度点分秒小时座种家%号"  # after one Chinese digit: it counts something
_LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:['’.&/-][A-Za-z0-9]+)*")
_QUOTATION = re.compile(r"“([^”]{4,})”|\"([^\"]{4,})\"|「([^」]{4,})」|『([^』]{4,})』")
_SURNAMES = frozenset(
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏水窦章云苏潘葛奚范彭郎鲁韦昌马苗凤花方俞任袁柳"
    "唐罗薛伍余米贝姚孟顾尹江钟徐邱骆高夏蔡田樊胡凌霍虞万支柯管卢莫房裘缪解应宗丁邓郭林梁宋叶程萧傅曾汪石崔龚赖侯廖武戴贺"
)


def fold(text: str) -> str:
    """The form in which texts are compared."""
    text = lexical.fold(text).replace("\u00ad", "")
    text = re.sub(r"(?<=[a-z])-\n\s*(?=[a-z])", "", text)
    text = re.sub(r"\s+", " ", text)
    return re.sub(rf"(?<=[{_HAN}，。、；：]) (?=[{_HAN}，。、；：])", "", text)


def letters(text: str) -> str:
    """The folded text without anything but letters and digits."""
    return "".join(ch for ch in fold(text) if ch.isalnum())


def stated_numbers(sentence: str) -> set[str]:
    """The numbers that a sentence states, as canonical values ("30", "0.5", "5%").

    "one" and 一 are left out: they are articles more often than numbers.
    """
    folded = fold(sentence)
    words = {word for word in re.findall(r"[a-z]+", folded) if number_words().get(word, 0) > 1} - {"second"}
    written = _tens_and_ones(folded) or {_canonical(number_words()[word]) for word in words}
    return _arabic_values(folded, scaled_only=True) | _chinese_values(folded, counted_only=True) | written


def known_numbers(source: str) -> set[str]:
    """Every number that a source can be said to contain, generously: digits, Chinese numerals, English words."""
    folded = fold(source)
    words = {_canonical(number_words()[word]) for word in re.findall(r"[a-z]+", folded) if word in number_words()}
    inside = {_canonical(int(digits)) for digits in _ARABIC_INSIDE.findall(_ARABIC.sub(" ", folded))}
    return _arabic_values(folded) | _chinese_values(folded) | _tens_and_ones(folded) | words | inside


def stated_names(sentence: str) -> set[str]:
    """Words of a sentence that name something: capitalised or mixed Latin words, Chinese proper nouns; folded."""
    return _latin_names(sentence) | _chinese_names(sentence)


class KnownWords(NamedTuple):
    """The words of a source: Latin ones without plural s, and its Chinese characters in a row."""

    latin: frozenset[str]
    han: str

    def lack(self, name: str) -> bool:
        """Whether a stated name is not there."""
        if _is_han(name):
            return name not in self.han
        return not all(_stem(part) in self.latin for part in re.findall(r"[a-z0-9]+", name))


def known_words(source: str) -> KnownWords:
    """What a source can name."""
    folded = fold(source)
    words = frozenset(_stem(word) for word in re.findall(r"[a-z0-9]+", folded))
    return KnownWords(words, "".join(re.findall(f"[{_HAN}]+", folded)))


def quotations(sentence: str) -> list[str]:
    """What a sentence gives between quotation marks, of four characters or more."""
    return [next(filter(None, match)) for match in _QUOTATION.findall(sentence)]


def _arabic_values(folded: str, *, scaled_only: bool = False) -> set[str]:
    values = set()
    for number, percent, scale in _ARABIC.findall(folded):
        value = float(number.replace(",", ""))
        sign = "%" if percent else ""
        if scale:
            values.add(_canonical(value * _MULTIPLES[scale]))
        if not (scale and scaled_only):
            values.add(_canonical(value) + sign)
        if not scaled_only:
            values.add(_canonical(value))
    return values


def _chinese_values(folded: str, *, counted_only: bool = False) -> set[str]:
    """counted_only: single numerals only before a measure word, because 一 and 万 are parts of many words."""
    values = set()
    for match in _CHINESE.finditer(folded):
        numeral, sign = match[2], "%" if match[1] else ""
        counts = folded[match.end() : match.end() + 1] in _MEASURED and match.end() < len(folded)
        if counted_only and not sign and not counts and not (len(numeral) > 1 and any(ch in _DIGITS for ch in numeral)):
            continue
        if (counted_only and numeral == "一") or numeral[0] in "百千万亿":
            continue  # 一个, 一种: an article rather than a number; 百, 万 alone scale an Arabic number
        value = _canonical(_chinese_value(numeral))
        values.add(value + sign)
        if not counted_only:
            values.add(value)
    return values


def _chinese_value(numeral: str) -> int:
    """二百五十 → 250; 二〇一五 → 2015; 三千万 → 30,000,000."""
    if not any(ch in _SCALES for ch in numeral):
        return int("".join(str(_DIGITS[ch]) for ch in numeral))
    total = section = digit = 0
    for ch in numeral:
        if ch in _DIGITS:
            digit = _DIGITS[ch]
        elif _SCALES[ch] >= 10**4:
            total = (total + section + digit) * _SCALES[ch]
            section = digit = 0
        else:
            section += (digit or 1) * _SCALES[ch]
            digit = 0
    return total + section + digit


def _tens_and_ones(folded: str) -> set[str]:
    """twenty-five → 25; five hundred → 500."""
    values = number_words()
    tens = re.findall(r"\b([a-z]+ty)[- ]([a-z]+)\b", folded)
    scaled = re.findall(r"\b([a-z]+) (hundred|thousand|million|billion)\b", folded)
    return {_canonical(values[a] + values[b]) for a, b in tens if a in values and 0 < values.get(b, 0) < 10} | {
        _canonical(values.get(word, 1) * _MULTIPLES[scale]) for word, scale in scaled
    }


def _canonical(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))


def _latin_names(sentence: str) -> set[str]:
    text = unicodedata.normalize("NFKC", sentence)
    words = list(_LATIN_WORD.finditer(text))
    names = set()
    for match in words:
        word = match[0]
        inner = any(ch.isupper() or ch.isdigit() for ch in word[1:])
        starts = not re.search(rf"[\w{_HAN},;:(/&-]\s*$", text[: match.start()])
        if inner or (word[0].isupper() and not (starts and _is_common(word))):
            names.add(word.lower())
    return {re.sub(r"['’]s$", "", name) for name in names if name not in {"i", "i'm", "a", "ok"}}


def _is_common(word: str) -> bool:
    """Whether a capitalised first word is an ordinary one, which says nothing that could be wrong by itself."""
    word = word.lower()
    return word in word_list("common") or word.endswith(
        ("ing", "ed", "ly", "tion", "tions", "ment", "ments", "ers", "ees")
    )


def _chinese_names(sentence: str) -> set[str]:
    """Proper nouns by jieba's dictionary, and words that it does not know but that begin like a person's name."""
    words = {word for word in tokens(sentence) if len(word) > 1 and _is_han(word)}
    return {word for word in words if word in _proper_nouns() or _looks_like_a_name(word)}


def _looks_like_a_name(word: str) -> bool:
    return not segmenter().FREQ.get(word) and (word[0] in _SURNAMES or len(word) > 2)


@cache
def _proper_nouns() -> frozenset[str]:
    """Persons, places and organisations of jieba's dictionary: 100,000 words, read once in half a second."""
    kinds = {"nr", "nrt", "nrfg", "ns", "nt"}
    with segmenter().get_dict_file() as lines:
        records = (line.decode("utf-8").split() for line in lines)
        return frozenset(word for word, _, kind in records if kind in kinds and len(word) > 1)


def _is_han(word: str) -> bool:
    return all("\u4e00" <= ch <= "\u9fff" for ch in word)


def _stem(word: str) -> str:
    """Without a plural or possessive s."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
