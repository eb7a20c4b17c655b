"""Check an export of the audit without the portal. Python 3.8 or newer, nothing to install.

    python verify_export.py [FOLDER or ZIP] [--key-file FILE] [--head ID:HASH:TIME]

Checks the files against manifest.json, the chain of hashes, the seals of the days, and the CSV against the JSONL.
The exit code is 0 when all of it holds.
脱离系统验证审计导出：文件哈希、哈希链、每日封存、CSV 与 JSONL 是否一致；全部成立时退出码为 0。

    hash = H(hash of the event before ‖ id as 8 bytes, big-endian ‖ body in UTF-8)

H is SHA-256, or HMAC-SHA-256 with the key of the audit.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import hmac
import io
import itertools
import json
import re
import sys
import zipfile
from pathlib import Path

COLUMNS = (
    *("id", "at", "actor_id", "actor_name", "address", "action", "outcome"),
    *("target", "duration_ms", "request_id", "detail", "hash"),
)
CELL_MAX = 32_000  # characters; Excel takes 32,767
CUT = " … (cut, whole in events.jsonl)"
_FINGERPRINT = b"zhiku audit: which key is it"
_BLOCK = 1 << 20
_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
# What spreadsheets take for the begin of a formula: also after spaces and invisible characters, and in full width.
_FORMULA = re.compile(
    "[\\s\\x00-\\x20\\u00ad\\u200b-\\u200f\\u2028-\\u202f\\u2060-\\u206f\\ufeff]*[-=+@−﹢﹣﹦﹫＋－＝＠⁺⁻⁼₊₋₌]|[\\t\\r\\n]"
)


class Wrong(Exception):
    """What does not hold, in Chinese and English."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.zh, self.en = zh, en


class Hasher:
    """The rule of the chain. key: b"" for none."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def digest(self, previous: bytes, event_id: int, body: bytes) -> bytes:
        message = previous + event_id.to_bytes(8, "big", signed=True) + body
        return hmac.new(self._key, message, "sha256").digest() if self._key else hashlib.sha256(message).digest()

    @property
    def fingerprint(self) -> str:
        return hmac.new(self._key, _FINGERPRINT, "sha256").hexdigest()[:16] if self._key else ""


class Package:
    """The files of an export, in a folder or in the zip."""

    def __init__(self, path: Path) -> None:
        self._folder = path
        self._zip = None if path.is_dir() else zipfile.ZipFile(path)

    def open(self, name: str) -> io.BufferedIOBase:
        try:
            return self._zip.open(name) if self._zip else (self._folder / name).open("rb")
        except (KeyError, OSError) as error:
            raise Wrong("缺少文件 " + name, "the file " + name + " is missing") from error


# The cells of a row, as the portal writes them.


def csv_row(event_id: int, digest: str, body: str) -> list[str]:
    """An event as cells. A body that is no JSON object (it was damaged) leaves its cells empty."""
    try:
        fields = json.loads(body)
    except ValueError:
        fields = {}
    fields = fields if isinstance(fields, dict) else {}
    detail = _CANONICAL.encode(fields.get("detail", {}))
    known = dict(fields, id=event_id, hash=digest, detail=detail)
    return [_cell(known.get(column)) for column in COLUMNS]


def _cell(value: object) -> str:
    """Text that no spreadsheet takes for a formula, short enough for its cells, without control characters."""
    text = "" if value is None else str(value)
    if len(text) <= CELL_MAX and text[:1].isalnum() and text.isprintable():
        return text  # nearly all of them
    text = text if len(text) <= CELL_MAX else text[:CELL_MAX] + CUT
    if "\n" in text or not text.isprintable():
        text = "".join(ch if ch in "\t\r\n" or ch >= " " else "\ufffd" for ch in text)
        text = text.encode("utf-8", "replace").decode()
    return "'" + text if _FORMULA.match(text) else text


# The checks. Each gives what it found, in both languages, or raises Wrong at the first thing that does not hold.


def check_files(package: Package, manifest: dict) -> tuple:
    for entry in manifest["files"]:
        digest, size = hashlib.sha256(), 0
        with package.open(entry["name"]) as source:
            for block in iter(lambda source=source: source.read(_BLOCK), b""):
                digest.update(block)
                size += len(block)
        if (digest.hexdigest(), size) != (entry["sha256"], entry["size_bytes"]):
            name = entry["name"]
            raise Wrong(f"文件 {name} 已被改动", f"the file {name} was changed")
    number = len(manifest["files"])
    return f"{number} 个文件与清单一致", f"{number} files are as the manifest says"


def check_key(hasher: Hasher, manifest: dict) -> tuple:
    if manifest["algorithm"] == "sha256":
        return "哈希链不使用密钥", "the chain uses no key"
    if not hasher.fingerprint:
        raise Wrong("哈希链使用密钥：请用 --key-file 指定", "the chain uses a key: name it with --key-file")
    if hasher.fingerprint != manifest["key_fingerprint"]:
        raise Wrong("密钥不是生成该审计所用的密钥", "this is not the key the audit was made with")
    return "密钥指纹一致", "the key is the one the audit was made with"


def events(package: Package):
    """(id, hash in hex, body) of each line of events.jsonl."""
    with package.open("events.jsonl") as source:
        for number, line in enumerate(source, 1):
            try:
                found = json.loads(line.decode("utf-8", "surrogateescape"))
                event_id, digest, body = found["id"], found["hash"], found["body"]
            except (ValueError, KeyError, TypeError) as error:
                raise _unreadable(number) from error
            if len(found) != 3 or type(event_id) is not int or not isinstance(body, str):
                raise _unreadable(number)
            yield event_id, digest, body


def _unreadable(number: int) -> Wrong:
    return Wrong(f"events.jsonl 第 {number} 行无法读取", f"line {number} of events.jsonl cannot be read")


def check_chain(package: Package, manifest: dict, hasher: Hasher, marks: dict) -> tuple:
    """marks: ids whose hashes are wanted later; they are filled in, with the body of the event."""
    said = manifest["events"]
    expected, previous, number = said["first_id"], bytes.fromhex(said["previous_hash"]), 0
    marks[expected - 1] = (previous, "")
    for event_id, digest, body in events(package):
        if event_id != expected:
            expected, previous = _over_removed_days(manifest, expected, event_id, previous)
        raw = body.encode("utf-8", "surrogateescape")
        previous = hasher.digest(previous, event_id, raw)
        if previous.hex() != digest:
            raise Wrong(
                f"事件 {event_id} 的内容或其前一事件与哈希不符",
                f"event {event_id}: its content, or the event before it, does not fit its hash",
            )
        if event_id in marks:
            marks[event_id] = (previous, body)
        expected, number = event_id + 1, number + 1
    if (number, expected - 1, previous.hex()) != (said["count"], said["last_id"], said["last_hash"]):
        raise Wrong("末尾的事件与清单不符", "the last events are not those of the manifest")
    return f"哈希链完整：{number} 个事件", f"the chain holds: {number} events"


def _over_removed_days(manifest: dict, expected: int, event_id: int, previous: bytes) -> tuple:
    """Where the chain goes on after days that retention removed; they are listed with the hashes at both ends."""
    for days in manifest["removed"]:
        if days["first_id"] == expected and days["previous"] == previous.hex():
            expected, previous = days["last_id"] + 1, bytes.fromhex(days["last_hash"])
    if event_id != expected:
        raise Wrong(
            f"此处应为事件 {expected}，实为事件 {event_id}：有事件缺失、插入或调换",
            f"event {event_id} stands where event {expected} belongs: one is missing, inserted or swapped",
        )
    return expected, previous


def check_seals(manifest: dict, marks: dict) -> tuple:
    """The hashes at both ends of each sealed day, and the event that told of the seal, as far as they are here."""
    for seal in manifest["seals"]:
        before, after = marks.get(seal["first_id"] - 1), marks.get(seal["last_id"])
        wrong = (before and before[0].hex() != seal["previous"]) or (after and after[0].hex() != seal["last_hash"])
        told = (marks.get(seal["last_id"] + 1) or (b"", ""))[1]
        if told:
            event = json.loads(told)
            wrong = wrong or event["action"] != "audit.seal" or event["detail"] != seal
        if wrong or seal["count"] != seal["last_id"] - seal["first_id"] + 1:
            day = seal["day"]
            raise Wrong(f"{day} 的封存与事件不符", f"the seal of {day} does not fit the events")
    number = len(manifest["seals"])
    return f"{number} 个每日封存与事件一致", f"{number} seals of days fit the events"


def check_csv(package: Package) -> tuple:
    with package.open("events.csv") as source:
        rows = csv.reader(io.TextIOWrapper(source, "utf-8-sig", newline=""))
        if next(rows, None) != list(COLUMNS):
            raise Wrong("events.csv 的表头不符", "the heading of events.csv is not right")
        for row, event in itertools.zip_longest(rows, events(package)):
            expected = csv_row(*event) if event else None
            if row != expected:
                raise _other_cell(row, expected)
    return "events.csv 与 events.jsonl 一致", "events.csv says the same as events.jsonl"


def _other_cell(row: list | None, expected: list | None) -> Wrong:
    if row is None or expected is None or len(row) != len(expected):
        return Wrong("events.csv 与 events.jsonl 的行不对应", "events.csv has other rows than events.jsonl")
    column = next(COLUMNS[at] for at in range(len(COLUMNS)) if row[at] != expected[at])
    return Wrong(
        f"events.csv 中事件 {expected[0]} 的 {column} 已被改动",
        f"events.csv: {column} of event {expected[0]} was changed",
    )


def check_head(head: str, manifest: dict, marks: dict) -> tuple:
    number, digest, _ = head.split(":", 2)
    found = marks.get(int(number))
    if found is None:
        first, last = manifest["events"]["first_id"], manifest["events"]["last_id"]
        raise Wrong(
            f"已保存的链头 {number} 不在本导出（{first}–{last}）之内，无法比对",
            f"the saved head {number} is outside of this export ({first}–{last}) and cannot be compared",
        )
    if found[0].hex() != digest.lower():
        raise Wrong(f"事件 {number} 与已保存的链头不符", f"event {number} is not the one of the saved head")
    return "与已保存的链头一致", "the saved head is in this chain"


def _wanted(manifest: dict, head: str) -> dict:
    seals = [(seal["first_id"] - 1, seal["last_id"], seal["last_id"] + 1) for seal in manifest["seals"]]
    return dict.fromkeys([*itertools.chain(*seals), *([int(head.partition(":")[0])] if head else [])])


def verify(path: Path, key: bytes = b"", head: str = "", say=print) -> bool:
    """Do all the checks and say what came of each."""
    hasher = Hasher(key)
    try:
        package = Package(path)
        with package.open("manifest.json") as source:
            raw = source.read()
        manifest = json.loads(raw)
        marks = _wanted(manifest, head)
    except (Wrong, OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        say(f"[!!] 不是可读的导出：{error}\n     not an export that can be read: {error}")
        return False
    checks = [
        lambda: check_files(package, manifest),
        lambda: check_key(hasher, manifest),
        lambda: check_chain(package, manifest, hasher, marks),
        lambda: check_seals(manifest, marks),
        lambda: check_csv(package),
        *([lambda: check_head(head, manifest, marks)] if head else []),
    ]
    good = _run(checks, say)
    said = manifest["events"]
    say(f"     manifest.json SHA-256: {hashlib.sha256(raw).hexdigest()}")
    say(f"     事件 {said['first_id']}–{said['last_id']} / events {said['first_id']} to {said['last_id']}")
    say("结论：导出完整，未被改动。" if good else "结论：导出不完整、已被改动或无法验证。")
    say("Verdict: the export is whole." if good else "Verdict: the export is not whole, was changed, or is unproven.")
    if good and not key and not head:
        say("注意：没有密钥和已保存的链头，无法发现整条链被重新计算。")
        say("Note: without a key or a saved head, a chain computed anew as a whole would not be noticed.")
    return good


def _run(checks: list, say) -> bool:
    """All checks, also after one that failed; but what rests on the chain only if the chain holds."""
    good = True
    for check in checks:
        try:
            zh, en = check()
            say(f"[ok] {zh}\n     {en}")
        except Wrong as wrong:
            say(f"[!!] {wrong.zh}\n     {wrong.en}")
            good = False
        except (ValueError, KeyError, TypeError, AttributeError, UnicodeError, csv.Error, zipfile.BadZipFile) as error:
            say(f"[!!] 无法读取：{error!r}\n     cannot be read: {error!r}")
            good = False
    return good


def _head(line: str) -> str:
    """Raises ValueError (argparse then says so) when the line is no head."""
    number, digest, _ = line.strip().split(":", 2)
    int(number), bytes.fromhex(digest)
    return line.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description="Check an export of the Zhiku audit / 验证知库审计导出")
    parser.add_argument("path", nargs="?", type=Path, default=Path(__file__).resolve().parent, help="folder or zip")
    parser.add_argument("--key-file", type=Path, help="file with the key of the audit / 审计密钥文件")
    parser.add_argument("--head", type=_head, help="a saved head, id:hash:time / 已保存的链头")
    options = parser.parse_args()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a console that knows no Chinese
    key = options.key_file.read_bytes().strip() if options.key_file else b""
    return 0 if verify(options.path, key, options.head or "") else 1


if __name__ == "__main__":
    sys.exit(main())
