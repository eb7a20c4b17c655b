"""Masking of personal data before a text is stored: what has a form a machine can check becomes a placeholder.

Found: e-mail, phone (Chinese mobiles and landlines with area code, numbers with +country code), Chinese identity
number, bank card, IP address, IBAN; in half or full width, with or without spaces around. Not found: names, street
addresses, passports, phone numbers without area or country code (also American ones), English words for digits.

Where form alone cannot tell, the neighbours decide. Four small numbers with dots (1.2.3.4) are an IP address unless
the words before them say version or section; loopback, unspecified and netmask addresses stay, private ones do not.
Phones, cards and old identity numbers stay when they are amounts or labelled as order number, time stamp or the like.

Every pattern is bounded and is tried once per place, so the time is linear in the length of the text.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

PLACEHOLDERS = {kind: f"[{kind}]" for kind in ("e-mail", "iban", "id", "card", "ip", "phone")}


@dataclass(frozen=True, order=True)
class Span:
    """Characters start to end (exclusive) of a text, and what they are: a key of PLACEHOLDERS."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class _Detector:
    """At each place where `start` matches, the first shape that matches and is accepted is a find.

    accept: gets the match and returns where the find ends (an IBAN's length is known by its country), 0 to refuse.
    """

    kind: str
    start: re.Pattern[str]
    shapes: tuple[re.Pattern[str], ...]
    accept: Callable[[re.Match[str]], int]

    def finds(self, text: str) -> Iterator[Span]:
        reached = 0
        for place in self.start.finditer(text):
            if place.start() < reached:
                continue
            ends = (self.accept(m) for shape in self.shapes if (m := shape.match(text, place.start())))
            if end := next(filter(None, ends), 0):
                yield Span(place.start(), end, self.kind)
                reached = end


def mask(text: str) -> str:
    """The text with personal data replaced by placeholders; everything else as it was."""
    parts, reached = [], 0
    for span in find(text):
        parts += [text[reached : span.start], PLACEHOLDERS[span.kind]]
        reached = span.end
    return "".join([*parts, text[reached:]])


def count(text: str) -> dict[str, int]:
    """How many finds of each kind."""
    return dict(Counter(span.kind for span in find(text)))


def find(text: str) -> list[Span]:
    """Personal data in the order of the text, without overlaps: the more specific kind has taken its characters."""
    spans: list[Span] = []
    plain = _half_width(text)
    if not _WORTH_A_LOOK.search(plain):
        return spans
    for detector in _DETECTORS:
        found = list(detector.finds(plain))
        plain = _without(plain, found)
        spans += found
    return sorted(spans)


_WORTH_A_LOOK = re.compile(r"[0-9@]|[aA][tT] ?[)\]}]|[一幺][三四五六七八九]")
_ODD_SPACES = "\u00a0\u2002\u2003\u2007\u2009\u200b\u202f\u2060\u3000\ufeff"
_ODD_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212\u30fc"
_HALF_WIDTH = (
    {0xFF00 + code: 0x20 + code for code in range(1, 0x5F) if code != 0x1A}  # the colon: see _half_width
    | dict.fromkeys(map(ord, _ODD_SPACES), " ")
    | dict.fromkeys(map(ord, _ODD_DASHES), "-")
)
_COLON_IN_ADDRESS = re.compile(r"(?<=[0-9A-Fa-f:：])：(?=[0-9A-Fa-f:：])")


def _half_width(text: str) -> str:
    """Character by character, so that positions stay. A full-width colon counts only between digits of an address."""
    return _COLON_IN_ADDRESS.sub(":", text.translate(_HALF_WIDTH))


def _without(text: str, spans: list[Span]) -> str:
    """The text with the spans blanked out, positions kept."""
    parts, reached = [], 0
    for span in spans:
        parts += [text[reached : span.start], "\0" * (span.end - span.start)]
        reached = span.end
    return "".join([*parts, text[reached:]])


def _digits(text: str) -> str:
    return "".join(ch for ch in text if ch.isdigit())


_BEFORE = 28  # characters looked at before a number
_OTHER_NUMBER = re.compile(
    r"(?:(?:订单|工单|运单|快递|流水|单|编|批|批次|序列|发票|合同|物料|料|案件|请求)(?:编)?[号码]|(?:错误|条|条形|二维)代?码|时间戳"
    r"|\b(?:order|invoice|ticket|tracking|serial|transaction|batch|part|contract|case|error|request|waybill|shipment)"
    r"(?:[ -]?(?:no\.?|number|id|code))?|\b(?:isbn|timestamp|epoch|imei|s/n|sn))[ :：#=]{0,3}(?:是|为|is )?[ #]?\Z",
    re.IGNORECASE,
)
_CURRENCY_BEFORE = re.compile(r"(?:[¥￥$€£]|RMB|CNY|USD|EUR) ?[+-]?\Z")
_UNIT_AFTER = re.compile(
    r" ?(?:[万亿]?(?:元|美元|欧元|日元)(?![旦宵月])|字节|毫秒)"
    r"| ?(?:bytes?|[KMG]i?B|ms|rows|USD|CNY|RMB|EUR|yuan|dollars)\b"
    r"|[.,][0-9]{1,3}(?![0-9])|%"
)
_LABEL_TOUCHING = re.compile(
    r"(?:tel|phone|mobile|mob|cell|fax|ph|no|id|card|acct|wechat|wx|qq|call|sms)\Z", re.IGNORECASE
)


def _stands_alone(match: re.Match[str]) -> bool:
    """Not the tail of a word (a label such as Tel apart), of a fraction 0.…, an amount or another labelled number."""
    before = match.string[max(0, match.start() - _BEFORE) : match.start()]
    if before[-1:].isascii() and before[-1:].isalpha() and not _LABEL_TOUCHING.search(before):
        return False
    return not (
        re.search(r"(?<![0-9])0\.\Z", before)
        or _OTHER_NUMBER.search(before)
        or _CURRENCY_BEFORE.search(before)
        or _UNIT_AFTER.match(match.string, match.end())
    )


# logo@2x.png and getty@tty1.service have the form of an address.
_NOT_A_DOMAIN = re.compile(
    r"png|jpe?g|gif|svg|webp|ico|css|js|ts|py|md|txt|json|html|service|socket|timer", re.IGNORECASE
)


def _email(match: re.Match[str]) -> int:
    nobody = match[0].startswith("git@") or _NOT_A_DOMAIN.fullmatch(match["top"] or "")
    return 0 if nobody else match.end()


_IBAN_LENGTHS = dict(
    re.findall(
        r"([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 "
        "LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 "
        "QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30",
    )
)


def _iban(match: re.Match[str]) -> int:
    """Where the country's length ends, if nothing alphanumeric follows and the number is 1 modulo 97 (ISO 13616)."""
    length = int(_IBAN_LENGTHS.get(match[0][:2].upper(), 0))
    places = [at for at, ch in enumerate(match[0]) if ch.isalnum()][:length]
    if not length or len(places) < length:
        return 0
    end = match.start() + places[-1] + 1
    compact = "".join(match[0][at] for at in places).upper()
    number = "".join(str(int(ch, 36)) for ch in compact[4:] + compact[:4])
    follows = match.string[end : end + 1]
    return end if int(number) % 97 == 1 and not (follows.isascii() and follows.isalnum()) else 0


_PROVINCE = re.compile(r"1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def identity_check_digit(first_17: str) -> str:
    """The 18th character of a Chinese identity number (GB 11643, ISO 7064 MOD 11-2)."""
    total = sum(weight * int(ch) for weight, ch in zip(_WEIGHTS, first_17, strict=True))
    return "10X98765432"[total % 11]


def _identity_number(match: re.Match[str]) -> int:
    compact = "".join(ch for ch in match[0] if ch.isalnum()).upper()
    if not _PROVINCE.match(compact):
        return 0
    if len(compact) == 15:
        return match.end() if _is_birth_date("19" + compact[6:12]) and _stands_alone(match) else 0
    right = compact[17] == identity_check_digit(compact[:17]) and _is_birth_date(compact[6:14])
    return match.end() if right else 0


def _is_birth_date(digits: str) -> bool:
    try:
        return date(1900, 1, 1) <= date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) <= date.today()
    except ValueError:
        return False


# Issuers' first digits with the lengths of their cards; without them one number in ten would pass for a card.
_CARD_ISSUERS = (
    (re.compile(r"3[47]"), {15}),
    (re.compile(r"3(?:0|6|8|9)"), {14, 16, 19}),
    (re.compile(r"35"), {16, 17, 18, 19}),
    (re.compile(r"4"), {13, 16, 17, 18, 19}),
    (re.compile(r"5"), {*range(13, 20)}),
    (re.compile(r"6"), {*range(13, 20)}),
    (re.compile(r"2[2-7]|8[12]"), {16, 17, 18, 19}),
    (re.compile(r"9558|9559|9[048]"), {16, 18, 19}),
)


def passes_luhn(digits: str) -> bool:
    doubled = (int(ch) * 2 for ch in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


def _card(match: re.Match[str]) -> int:
    digits = _digits(match[0])
    issued = any(first.match(digits) and len(digits) in lengths for first, lengths in _CARD_ISSUERS)
    return match.end() if issued and passes_luhn(digits) and len(set(digits)) > 1 and _stands_alone(match) else 0


_VERSION_BEFORE = re.compile(
    r"(?:\b(?:v|ver\.?|version|release|build|firmware|driver|section|chapter|clause|oid)|版本号?|固件|驱动|章节|条款|第|§|[a-z]/)"
    r"[ :：]{0,2}(?:是|为|is )?\Z",
    re.IGNORECASE,
)


def _ip4(match: re.Match[str]) -> int:
    before = match.string[max(0, match.start() - _BEFORE) : match.start()]
    if _VERSION_BEFORE.search(before) or re.match(r" ?[节条章款]", match.string[match.end() : match.end() + 2]):
        return 0
    address = ipaddress.IPv4Address(re.sub(r"[\[\]]", "", match[0]))
    return 0 if address.is_loopback or match[0].startswith(("0.", "255.")) else match.end()


def _ip6(match: re.Match[str]) -> int:
    """Global, private and link-local addresses; what is no address by RFC 4291 (a time, a MAC, std::x) is refused."""
    try:
        address = ipaddress.IPv6Address(match["address"])
    except ValueError:
        return 0
    known = address.is_link_local or address.is_private or 0x2000 <= int(address) >> 112 <= 0x3FFF
    return match.end() if (known or address.ipv4_mapped) and int(address) > 1 else 0


def _phone(match: re.Match[str]) -> int:
    return match.end() if _stands_alone(match) else 0


def _international(match: re.Match[str]) -> int:
    """+CC and 8 to 15 digits in all (E.164); for North America all of its eleven, as for 00 without any gap."""
    digits = _digits(match[0]).removeprefix("00")
    least = 11 if match[0].startswith("00") and match[0].isdigit() else 8
    if digits.startswith("1") and not re.fullmatch(r"1[2-9][0-9]{2}[2-9][0-9]{6}", digits):
        return 0
    return match.end() if least <= len(digits) and _stands_alone(match) else 0


_END = r"(?![0-9A-Za-z])"
_MORE = rf"(?: ?(?:转|分机|ext\.? ?|x|#|-) ?[0-9]{{1,6}})?{_END}"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_GAP = r"(?: ?[-._·/] ?| )"
_CHINA = r"(?:(?:\+|00)?86[ -]?|\(\+?86\)[ -]?)?"
_HAN_DIGIT = "[零〇一二三四五六七八九幺]"
_NUMBER_START = re.compile(r"(?<![0-9])[0-9]")
_AT = r" ?(?:@|[(\[{] ?(?:at|AT) ?[)\]}]) ?"
_DOMAIN = (
    r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}(?P<top>[A-Za-z]{2,24})"
    r"|[\u4e00-\u9fff]{1,20}\.(?:中国|公司|网络|[a-z]{2,4})"
)
_EMAIL = rf"[A-Za-z0-9][A-Za-z0-9._%+'-]{{0,63}}{_AT}(?:{_DOMAIN})"


def _shapes(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in patterns)


_DETECTORS = (
    _Detector("e-mail", re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]"), _shapes(_EMAIL + r"(?![A-Za-z0-9])"), _email),
    _Detector(
        "iban",
        re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}[0-9]{2}"),
        _shapes(r"[A-Za-z]{2}[0-9]{2}(?:[ .-]?[0-9A-Za-z]){11,30}"),
        _iban,
    ),
    _Detector(
        "id",
        _NUMBER_START,
        _shapes(
            rf"[1-8](?:[ .-]?[0-9]){{16}}[ .-]?[0-9Xx]{_END}",
            rf"[1-8][0-9]{{5}}[ -]?[0-9]{{6}}[ -]?[0-9]{{3}}{_END}",
        ),
        _identity_number,
    ),
    _Detector(
        "card",
        _NUMBER_START,
        _shapes(
            rf"[0-9]{{13,19}}{_END}",
            *(rf"[0-9]{{4}}(?:[ -][0-9]{{4}}){{3}}[ -]?[0-9]{{{n}}}{_END}" for n in (3, 2, 1)),
            rf"[0-9]{{4}}(?:[ -][0-9]{{4}}){{3}}{_END}",
            rf"[0-9]{{4}}(?:[._][0-9]{{4}}){{3}}(?:[._][0-9]{{3}})?{_END}",
            rf"[0-9]{{4}}(?:[ -][0-9]{{4}}){{2}}[ -][0-9]{{1,3}}{_END}",
            rf"[0-9]{{4}}[ -][0-9]{{6}}[ -][0-9]{{4,5}}{_END}",
            rf"[0-9]{{4}}(?:[ -][0-9]{{3}}){{3}}{_END}",
            rf"[0-9]{{6}}[ -][0-9]{{7,13}}{_END}",
        ),
        _card,
    ),
    _Detector(
        "ip",
        re.compile(r"(?<![0-9A-Za-z:.])(?:[0-9A-Fa-f]{1,4}|:):|(?<=[A-Za-z]:)[0-9A-Fa-f]{4}:"),
        _shapes(
            rf"(?P<address>(?:[0-9A-Fa-f]{{0,4}}:){{2,7}}(?:(?:{_OCTET}\.){{3}}{_OCTET}|[0-9A-Fa-f]{{0,4}}))"
            r"(?:%[0-9A-Za-z]{1,15})?(?![0-9A-Za-z:]|\.[0-9])"
        ),
        _ip6,
    ),
    _Detector(
        "ip",
        re.compile(r"(?<![0-9A-Za-z])(?<![0-9]\.)[0-9]"),
        _shapes(*(rf"(?:{_OCTET}{dot}){{3}}{_OCTET}(?![0-9A-Za-z]|\.[0-9])" for dot in (r"\.", r"\[\.\]"))),
        _ip4,
    ),
    _Detector(
        "phone",
        re.compile(r"(?<![0-9+])[(+0-9]"),
        _shapes(
            rf"{_CHINA}1[3-9][0-9]{{9}}{_MORE}",
            rf"{_CHINA}1[3-9][0-9]{_GAP}(?:[0-9]{{4}}{_GAP}?[0-9]{{4}}|[0-9]{{3}}{_GAP}[0-9]{{5}}){_MORE}",
            rf"{_CHINA}1[3-9][0-9]{{2}}{_GAP}[0-9]{{3}}{_GAP}[0-9]{{4}}{_MORE}",
            rf"{_CHINA}1[3-9][0-9]{{5}}{_GAP}[0-9]{{4}}{_MORE}",
            rf"{_CHINA}1[3-9][0-9](?:[ -][0-9]{{2}}){{4}}{_END}",
            rf"{_CHINA}1 [3-9](?: [0-9]){{9}}(?! [0-9] ){_END}",
            rf"\(?0(?:10|2[0-9])\)?[ -]{{0,3}}[2-9][0-9]{{3}}[ -]{{0,3}}[0-9]{{4}}{_MORE}",
            rf"\(?0[3-9][0-9]{{2}}\)?[ -]{{0,3}}[2-9][0-9]{{2,3}}[ -]{{0,3}}[0-9]{{4}}{_MORE}",
        ),
        _phone,
    ),
    _Detector(
        "phone",
        re.compile(r"(?<![0-9)A-Za-z])(?:\(?\+|00)[1-9]|(?<=[A-Za-z])\+[1-9]"),
        _shapes(rf"\(?(?:\+|00)[1-9](?:(?:[ .-]|[ -]?\(|\)[ -]?)?[0-9]){{6,14}}{_MORE}"),
        _international,
    ),
    _Detector(
        "phone",
        re.compile("[一幺]"),
        _shapes(rf"[一幺][三四五六七八九]{_HAN_DIGIT}{{9}}(?!{_HAN_DIGIT})"),
        re.Match.end,
    ),
)
