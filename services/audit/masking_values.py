"""Made-up personal data with right check digits, in the ways that people write it: not only those masking.py reads."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta

from services.audit.masking import identity_check_digit, passes_luhn

Maker = Callable[[random.Random], str]


def digits(rng: random.Random, number: int) -> str:
    return "".join(rng.choices("0123456789", k=number))


def _full_width(text: str) -> str:
    return "".join(chr(ord(ch) + 0xFEE0) if "!" <= ch <= "~" else ch for ch in text)


def mobile(rng: random.Random, form: str = "3{}4{}4") -> str:
    """form: how many digits to a group, and what stands between."""
    number = rng.choice(("13", "15", "17", "18", "19")) + digits(rng, 9)
    parts, at = [], 0
    for ch in form:
        if ch.isdigit():
            parts.append(number[at : at + int(ch)])
            at += int(ch)
        else:
            parts.append(ch)
    return "".join(parts)


def _landline(rng: random.Random, gap: str = "-", area: str = "{}") -> str:
    code = rng.choice(("010", "021", "020", "0755", "0571", "0311", "0898"))
    number = rng.choice("345678") + digits(rng, 7 if len(code) == 3 or rng.random() < 0.6 else 6)
    return area.format(code) + gap + number


def identity(rng: random.Random) -> str:
    area = rng.choice(("110105", "310104", "440305", "510107", "330106", "420111", "610113", "371302", "653101"))
    born = date(1945, 1, 1) + timedelta(days=rng.randrange(27_000))
    first = f"{area}{born:%Y%m%d}{digits(rng, 3)}"
    return first + identity_check_digit(first)


def _old_identity(rng: random.Random) -> str:
    number = identity(rng)
    return number[:6] + number[8:17] if number[6:8] == "19" else _old_identity(rng)


def _card(rng: random.Random, length: int = 19, issuer: str = "") -> str:
    first = issuer or rng.choice(("622202", "621700", "622848", "621226", "623052", "625912"))
    body = first + digits(rng, length - 1 - len(first))
    return next(body + last for last in "0123456789" if passes_luhn(body + last))


def _grouped(text: str, gap: str, *sizes: int) -> str:
    """In groups of these sizes; the last size for all the rest."""
    parts = []
    for size in [*sizes[:-1], *[sizes[-1]] * len(text)]:
        parts.append(text[:size])
        text = text[size:]
    return gap.join(filter(None, parts))


def _iban(rng: random.Random) -> str:
    country, bank, length = rng.choice(
        (("DE", "", 18), ("GB", "NWBK", 14), ("FR", "", 23), ("NL", "ABNA", 10), ("CH", "", 17), ("AT", "", 16))
    )
    account = bank + digits(rng, length)
    number = int("".join(str(int(ch, 36)) for ch in account + country + "00"))
    return f"{country}{98 - number % 97:02}{account}"


def ip4(rng: random.Random) -> str:
    first = rng.choice(("10", "172.16", "192.168", "203.0", "114.114", "8.8", "36.110"))
    return ".".join([first, *(str(rng.randrange(1, 255)) for _ in range(3 - first.count(".")))])


def _ip6(rng: random.Random) -> str:
    groups = [f"{rng.randrange(1, 65536):x}" for _ in range(4)]
    start = rng.choice(("2001:db8", "2408:8000", "fd12:3456", "fe80:"))
    return f"{start}::{':'.join(groups)}" if not start.endswith(":") else f"{start}:{':'.join(groups)}"


def _email(rng: random.Random) -> str:
    name = rng.choice(("zhang.wei", "li_na", "wang-fang", "j.smith", "anna", "chen2019", "m+invoice", "O.Brien", "x1"))
    return (
        f"{name}@{rng.choice(('example.com', 'corp.example.com.cn', 'qq.com', '163.com', 'mail.firma.de', 'uni.edu'))}"
    )


_HAN_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")

# Each way of writing; those that are known to be missed are among them.
VALUES: dict[str, dict[str, Maker]] = {
    "e-mail": {
        "plain": _email,
        "upper case": lambda rng: _email(rng).upper(),
        "full width": lambda rng: _full_width(_email(rng)),
        "QQ number": lambda rng: f"{digits(rng, 9)}@qq.com",
        "subdomains": lambda rng: _email(rng).replace("@", "@mx1.bj."),
        "spaces at @": lambda rng: _email(rng).replace("@", " @ "),
        "(at)": lambda rng: _email(rng).replace("@", "(at)"),
        "Chinese domain": lambda rng: f"{_email(rng).split('@')[0]}@例子.中国",
        "[dot]": lambda rng: _email(rng).replace(".", "[dot]"),
        "ideographic stop": lambda rng: _email(rng).replace(".com", "。com"),
    },
    "phone": {
        "mobile": lambda rng: mobile(rng, "344"),
        "mobile 3 4 4": lambda rng: mobile(rng, "3 4 4"),
        "mobile 3-4-4": lambda rng: mobile(rng, "3-4-4"),
        "mobile 3 3 5": lambda rng: mobile(rng, "3 3 5"),
        "mobile 4-3-4": lambda rng: mobile(rng, "4-3-4"),
        "mobile 3.4.4": lambda rng: mobile(rng, "3.4.4"),
        "mobile 3/4/4": lambda rng: mobile(rng, "3/4/4"),
        "mobile in pairs": lambda rng: mobile(rng, "3 2 2 2 2"),
        "mobile 3_4_4": lambda rng: mobile(rng, "3_4_4"),
        "mobile 1 3 3 4": lambda rng: mobile(rng, "1 3 3 4"),
        "mobile, no-break spaces": lambda rng: mobile(rng, "3\u00a04\u00a04"),
        "mobile, wide spaces": lambda rng: mobile(rng, "3　4　4"),
        "mobile +86": lambda rng: "+86 " + mobile(rng, "344"),
        "mobile +86-": lambda rng: "+86-" + mobile(rng, "3-4-4"),
        "mobile (+86)": lambda rng: "(+86)" + mobile(rng, "344"),
        "mobile 0086": lambda rng: "0086" + mobile(rng, "344"),
        "mobile 86": lambda rng: "86" + mobile(rng, "344"),
        "mobile full width": lambda rng: _full_width(mobile(rng, "344")),
        "mobile full width, dashes": lambda rng: _full_width(mobile(rng, "3-4-4")),
        "mobile spaced out": lambda rng: " ".join(mobile(rng, "344")),
        "mobile in Chinese": lambda rng: mobile(rng, "344").translate(_HAN_DIGITS),
        "landline": _landline,
        "landline, no dash": lambda rng: _landline(rng, ""),
        "landline, brackets": lambda rng: _landline(rng, "", "({})"),
        "landline, wide brackets": lambda rng: _landline(rng, "", "（{}）"),
        "landline, extension": lambda rng: f"{_landline(rng)}转{digits(rng, 4)}",
        "landline, -extension": lambda rng: f"{_landline(rng)}-{digits(rng, 3)}",
        "landline +86": lambda rng: f"+86 {rng.choice(('10', '21', '755'))} 8{digits(rng, 7)}",
        "landline, no area": lambda rng: f"8{digits(rng, 7)}",
        "landline by 4": lambda rng: f"010 - 8{digits(rng, 3)} - {digits(rng, 4)}",
        "landline by 2": lambda rng: f"021-6{digits(rng, 1)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)}",
        "US +1": lambda rng: f"+1 (415) 555-{digits(rng, 4)}",
        "US without +1": lambda rng: f"(415) 555-{digits(rng, 4)}",
        "UK": lambda rng: f"+44 20 7946 {digits(rng, 4)}",
        "Germany": lambda rng: f"+49 (0)30 {digits(rng, 4)} {digits(rng, 4)}",
        "Hong Kong": lambda rng: f"+852 {_grouped('9' + digits(rng, 7), ' ', 4)}",
        "Japan": lambda rng: f"+81-90-{digits(rng, 4)}-{digits(rng, 4)}",
        "Singapore 00": lambda rng: f"0065 9{digits(rng, 3)} {digits(rng, 4)}",
    },
    "id": {
        "18": identity,
        "18, x": lambda rng: next(n for n in iter(lambda: identity(rng), "") if n[-1] == "X").lower(),
        "18, 6 8 4": lambda rng: _grouped(identity(rng), " ", 6, 8, 4),
        "18, 6-4-4-4": lambda rng: _grouped(identity(rng), "-", 6, 4),
        "18, 3 3 4 4 4": lambda rng: _grouped(identity(rng), " ", 3, 3, 4),
        "18, full width": lambda rng: _full_width(identity(rng)),
        "18, spaced out": lambda rng: " ".join(identity(rng)),
        "18, by dots": lambda rng: _grouped(identity(rng), ".", 6, 8, 4),
        "15": _old_identity,
    },
    "card": {
        "19": _card,
        "16": lambda rng: _card(rng, 16),
        "19 by 4": lambda rng: _grouped(_card(rng), " ", 4),
        "16 by 4": lambda rng: _grouped(_card(rng, 16), " ", 4),
        "16 by 4-": lambda rng: _grouped(_card(rng, 16), "-", 4),
        "19, 6 13": lambda rng: _grouped(_card(rng), " ", 6, 13),
        "Visa": lambda rng: _grouped(_card(rng, 16, "4"), " ", 4),
        "Mastercard": lambda rng: _card(rng, 16, "53"),
        "Amex": lambda rng: _grouped(_card(rng, 15, "37"), " ", 4, 6, 5),
        "full width": lambda rng: _full_width(_card(rng)),
        "local bank": lambda rng: _card(rng, 19, "95588"),
        "by dots": lambda rng: _grouped(_card(rng, 16), ".", 4),
        "by 4_": lambda rng: _grouped(_card(rng, 16), "_", 4),
        "19, 4 5 5 5": lambda rng: _grouped(_card(rng), " ", 4, 5),
    },
    "ip": {
        "v4": ip4,
        "v4 full width": lambda rng: _full_width(ip4(rng)),
        "v4 [.]": lambda rng: ip4(rng).replace(".", "[.]"),
        "v4, leading zeros": lambda rng: ".".join(f"{int(part):03}" for part in ip4(rng).split(".")),
        "v6": _ip6,
        "v6 upper case": lambda rng: _ip6(rng).upper(),
        "v6 in full": lambda rng: ":".join(["2408", *(f"{rng.randrange(65536):04x}" for _ in range(7))]),
        "v6 mapped": lambda rng: f"::ffff:{ip4(rng)}",
    },
    "iban": {
        "plain": _iban,
        "by 4": lambda rng: _grouped(_iban(rng), " ", 4),
        "by 4-": lambda rng: _grouped(_iban(rng), "-", 4),
        "lower case": lambda rng: _iban(rng).lower(),
        "full width": lambda rng: _full_width(_iban(rng)),
        "by 5": lambda rng: _grouped(_iban(rng), " ", 4, 5),
        "by dots": lambda rng: _grouped(_iban(rng), ".", 4),
    },
}

# Ways of writing that one meets now and then; the others are the usual ones.
RARE = {
    *("e-mail/spaces at @", "e-mail/(at)", "e-mail/[dot]", "e-mail/ideographic stop", "e-mail/Chinese domain"),
    *("phone/mobile 3.4.4", "phone/mobile 3/4/4", "phone/mobile 3_4_4", "phone/mobile 4-3-4", "phone/mobile in pairs"),
    *("phone/mobile 1 3 3 4", "phone/mobile spaced out", "phone/mobile in Chinese", "phone/landline by 2"),
    *("phone/US without +1", "id/18, 3 3 4 4 4", "id/18, spaced out", "id/18, by dots"),
    *(
        "card/by dots",
        "card/by 4_",
        "card/19, 4 5 5 5",
        "ip/v4 [.]",
        "ip/v4, leading zeros",
        "iban/by dots",
        "iban/by 5",
    ),
}
