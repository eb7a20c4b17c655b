"""Made-up sentences with personal data and with what only looks like it, in Chinese and English.

The same for the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import NamedTuple

from services.audit.masking import Span
from services.audit.masking_values import VALUES, Maker, digits, identity, ip4, mobile
from services.translation import Language


class Sentence(NamedTuple):
    """made: the format of the value or of the look-alike, as kind/format."""

    text: str
    spans: tuple[Span, ...]
    made: str


def generate(language: Language, number: int, seed: int) -> list[Sentence]:
    """Every second one holds personal data; kinds and formats by turns, so that each is there often enough."""
    rng = random.Random(f"{seed} {language}")
    values = [(kind, name) for kind in VALUES for name in VALUES[kind]]
    return [
        _with_value(rng, language, *values[at // 2 % len(values)]) if at % 2 else _with_other(rng, language)
        for at in range(number)
    ]


def _with_value(rng: random.Random, language: Language, kind: str, name: str) -> Sentence:
    value = VALUES[kind][name](rng)
    template = rng.choice([*_LABELLED[language][kind], *_ANY[language]])
    start = template.index("{}")
    spans = (Span(start, start + len(value), kind),)
    return Sentence(template.replace("{}", value), spans, f"{kind}/{name}")


def _with_other(rng: random.Random, language: Language) -> Sentence:
    name = rng.choice(list(OTHERS))
    return Sentence(rng.choice(_OTHER[language]).format(OTHERS[name](rng, language)), (), f"other/{name}")


_ANY: dict[Language, tuple[str, ...]] = {
    "zh": (
        "请把{}登记一下",
        "{}",
        "客户留的是{}，麻烦核对。",
        "信息：{}；备注：无",
        "（{}）",
        "张三，{}，北京",
        "是不是{}？",
    ),
    "en": (
        "Please note {} down.",
        "{}",
        "The customer gave {}; check it.",
        "Data: {}, remark: none",
        "({})",
        "Is it {}?",
    ),
}
_LABELLED: dict[Language, dict[str, tuple[str, ...]]] = {
    "zh": {
        "e-mail": ("请发到{}谢谢", "邮箱：{}", "把合同抄送{}和财务"),
        "phone": ("我的手机号是{}请尽快回电", "电话{}", "联系人李四{}", "请拨打{}找王经理", "微信同号:{}"),
        "id": ("身份证号{}的员工", "证件号码：{}", "他的身份证是{}，帮我查社保"),
        "card": ("工资请打到{}这张卡", "银行卡号：{}", "开户行工商银行{}"),
        "ip": ("{}这台机器连不上", "IP：{}", "从{}登录失败", "请把{}加入白名单"),
        "iban": ("请汇到{}账户", "IBAN：{}", "收款账号{}，德意志银行"),
    },
    "en": {
        "e-mail": ("Send it to {} please", "e-mail: {}", "Copy {} and finance in"),
        "phone": ("Call me at {} today", "Tel: {}", "My mobile is {}.", "phone:{}", "Ask Wang ({}) about it"),
        "id": ("The employee with id {} left", "ID card: {}", "His identity number is {}, look up his pension"),
        "card": ("Pay my salary to {} please", "Card no: {}", "Charge {} for the flight"),
        "ip": ("{} does not answer", "IP: {}", "Sign-in from {} failed", "Put {} on the list"),
        "iban": ("Transfer to {} by Friday", "IBAN: {}", "The account {} at Deutsche Bank"),
    },
}

_Other = Callable[[random.Random, Language], str]


def _said(zh: str, en: str, value: Maker) -> _Other:
    """A look-alike in the words that usually go with it."""
    return lambda rng, language: {"zh": zh, "en": en}[language].format(value(rng))


def _isbn(rng: random.Random) -> str:
    body = "9787" + digits(rng, 8)
    check = -sum(int(ch) * (1, 3)[at % 2] for at, ch in enumerate(body)) % 10
    return rng.choice(("{}-{}-{}-{}-{}", "{}{}{}{}{}")).format(body[:3], body[3], body[4:7], body[7:], check)


def _brokenidentity(rng: random.Random) -> str:
    """With a wrong check digit: no identity number."""
    number = identity(rng)
    return number[:17] + rng.choice([ch for ch in "0123456789" if ch != number[17]])


def _moment(rng: random.Random) -> date:
    return date(2015, 1, 1) + timedelta(days=rng.randrange(4500))


def _hex(rng: random.Random, *sizes: int) -> str:
    return "-".join("".join(rng.choices("0123456789abcdef", k=size)) for size in sizes)


# What looks like personal data, and is none.
OTHERS: dict[str, _Other] = {
    "amount": _said("金额{}元", "the amount of {} yuan", lambda rng: str(rng.randrange(10**6, 10**11))),
    "amount with sign": _said(
        "合计¥{}", "CNY {} in total", lambda rng: f"{rng.randrange(10**10)}.{rng.randrange(100):02}"
    ),
    "thousands": _said("营收{}", "revenue of {}", lambda rng: f"{rng.randrange(10**9, 10**12):,}"),
    "growth": _said("同比+{}元", "up by +{} yuan", lambda rng: str(rng.randrange(10**7, 10**9))),
    "fraction": _said("系数{}", "the factor {}", lambda rng: f"0.{mobile(rng, '344')}"),
    "date": _said("{}的会议", "the meeting of {}", lambda rng: _moment(rng).isoformat()),
    "dense date": _said("{}版", "the edition {}", lambda rng: f"{_moment(rng):%Y%m%d}"),
    "date and time": _said(
        "截止{}", "until {}", lambda rng: f"{_moment(rng)} {rng.randrange(24):02}:{rng.randrange(60):02}:07"
    ),
    "time stamp": _said("时间戳{}", "timestamp {}", lambda rng: str(rng.randrange(15 * 10**8, 19 * 10**8))),
    "time stamp in ms": _said("记录时间为{}", "logged at {}", lambda rng: str(rng.randrange(15 * 10**11, 19 * 10**11))),
    "version": _said(
        "升级到版本{}",
        "upgrade to version {}",
        lambda rng: f"{rng.randrange(20)}.{rng.randrange(20)}.{rng.randrange(20)}",
    ),
    "version of four": _said("驱动版本{}", "driver version {}", ip4),
    "v and four": _said("已装v{}", "installed v{}", ip4),
    "four without a word": _said(
        "装了{}之后就好了",
        "fixed since {} was installed",
        lambda rng: f"{rng.randrange(1, 9)}.{rng.randrange(9)}.0.{rng.randrange(9)}",
    ),
    "section": _said(
        "见第{}节", "see section {}", lambda rng: f"{rng.randrange(1, 9)}.{rng.randrange(1, 9)}.2.{rng.randrange(1, 9)}"
    ),
    "netmask": _said(
        "掩码{}", "the mask {}", lambda rng: rng.choice(("255.255.255.0", "255.255.0.0", "0.0.0.0", "127.0.0.1"))
    ),
    "OID": _said("OID是{}", "the OID {}", lambda rng: f"1.3.6.1.4.1.{rng.randrange(9999)}"),
    "order number": _said("订单号{}", "order {}", lambda rng: digits(rng, rng.randrange(8, 21))),
    "order number by date": _said("单号：{}", "order no. {}", lambda rng: f"{_moment(rng):%Y%m%d}{digits(rng, 10)}"),
    "number without a word": _said("查一下{}", "look up {}", lambda rng: digits(rng, rng.randrange(9, 21))),
    "tracking number": _said("顺丰SF{}", "parcel SF{}", lambda rng: digits(rng, 13)),
    "object id": _said(
        "对象{}不存在", "the object {} does not exist", lambda rng: str(rng.randrange(10**18, 7 * 10**18))
    ),
    "serial number": _said("序列号{}", "serial number {}", lambda rng: rng.choice("ABCD") + digits(rng, 11)),
    "part number": _said("料号{}", "part {}", lambda rng: f"{digits(rng, 4)}-{digits(rng, 4)}-{digits(rng, 3)}"),
    "error code": _said("错误码{}", "error {}", lambda rng: rng.choice(("0x8007", "0xC000")) + _hex(rng, 4)),
    "ISBN": _said("ISBN {}", "ISBN {}", _isbn),
    "ISBN without a word": _said("这本书{}", "the book {}", _isbn),
    "standard": _said(
        "GB/T {}", "GB/T {}", lambda rng: f"{rng.randrange(100, 40000)}.{rng.randrange(9)}-{rng.randrange(1990, 2025)}"
    ),
    "port": _said("端口{}", "port {}", lambda rng: str(rng.randrange(1, 65536))),
    "pages": _said("第{}页", "pages {}", lambda rng: f"{rng.randrange(100, 200)}-{rng.randrange(200, 400)}"),
    "room": _said("{}会议室", "room {}", lambda rng: f"{rng.choice('AB')}{digits(rng, 4)}"),
    "service line": _said(
        "客服{}", "the hotline {}", lambda rng: f"{rng.choice(('400', '800'))}-{digits(rng, 3)}-{digits(rng, 4)}"
    ),
    "short number": _said("拨{}", "dial {}", lambda rng: rng.choice(("110", "12345", "95588", "10086", "96110"))),
    "MAC": _said("网卡{}", "the card {}", lambda rng: _hex(rng, 2, 2, 2, 2, 2, 2).replace("-", ":")),
    "UUID": _said("请求{}", "the request {}", lambda rng: _hex(rng, 8, 4, 4, 4, 12)),
    "commit": _said("提交{}", "commit {}", lambda rng: _hex(rng, 40)),
    "IMEI": _said("串号{}", "the device {}", lambda rng: f"86{digits(rng, 13)}"),
    "wrong check digit": _said("编码{}", "the code {}", _brokenidentity),
    "company code": _said("信用代码{}", "the company code {}", lambda rng: f"91110108MA{digits(rng, 7)}X"),
    "table row": _said("数据 {}", "values {}", lambda rng: " ".join(digits(rng, 4) for _ in range(5))),
    "odd numbers": _said("{}是奇数", "{} are odd", lambda rng: "1 3 5 7 9 11 13 15 17 19"),
    "coordinates": _said(
        "坐标{}", "at {}", lambda rng: f"{rng.randrange(39, 41)}.{digits(rng, 6)},116.{digits(rng, 6)}"
    ),
    "ratio": _said(
        "比例{}", "a ratio of {}", lambda rng: f"{rng.randrange(99)}:{rng.randrange(99)}:{rng.randrange(99)}"
    ),
    "C++": _said("调用{}", "the call {}", lambda rng: rng.choice(("std::vector", "a::b", "ab::cafe::d1", "Foo::Bar2"))),
    "package": _said("安装{}", "install {}", lambda rng: f"react@{rng.randrange(19)}.{rng.randrange(9)}.1"),
    "picture": _said("图标{}", "the icon {}", lambda rng: f"logo@{rng.randrange(2, 4)}x.png"),
    "host": _said("登录{}", "log in to {}", lambda rng: f"root@node{rng.randrange(99)}"),
    "git": _said("克隆{}", "clone {}", lambda rng: "git@github.com:org/repo.git"),
    "handle": _said("联系{}", "ask {}", lambda rng: f"@user{digits(rng, 4)}"),
}
_OTHER: dict[Language, tuple[str, ...]] = {
    "zh": ("{}", "请看{}。", "关于{}的问题", "为什么是{}？"),
    "en": ("{}", "See {}.", "A question about {}", "Why {}?"),
}
