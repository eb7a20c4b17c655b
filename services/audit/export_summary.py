"""The readable summary of an export: counts, failed sign-ins, denied acts, and what the export proves."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

from services.translation import N_, Language, translate

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")
_DISTINCT = 20_000  # different names of one tally: whoever tries to sign in chooses them, so they are bounded
_SHOWN = 50  # rows of a table of names
_OTHERS = "…"

_PROVES = (
    N_("The events here are those of the chain between its two ends, in order, each as it was written: none was"
       " edited, inserted, swapped or left out without the hashes showing it. Check it with: python verify_export.py"),
    N_("The seals of the days and the table (CSV) are checked against the events as well."),
)  # fmt: skip
_PROVES_NOT = (
    N_("That nothing was computed anew: whoever could write to the audit file and knows the key (or there is none)"
       " can make another chain that holds. A head saved elsewhere at the time shows it (--head)."),
    N_("That the portal wrote the truth: who controlled the running portal controlled what it wrote from then on."),
    N_("That nothing happened outside of the portal, or before the first and after the last event here."),
)  # fmt: skip


class Tally:
    """Counts while the events pass by."""

    def __init__(self) -> None:
        self.by_action: Counter[str] = Counter()
        self.by_outcome: Counter[str] = Counter()
        self.by_person: Counter[str] = Counter()
        self.by_day: Counter[str] = Counter()
        self.failed_sign_ins: Counter[str] = Counter()
        self.denied: Counter[str] = Counter()
        self.unreadable = 0

    def add(self, body: str) -> None:
        try:
            event = json.loads(body)
            action, outcome, at = event["action"], event["outcome"], event["at"]
        except (ValueError, KeyError, TypeError):
            self.unreadable += 1
            return
        name = str(event.get("actor_name") or "")
        _count(self.by_action, str(action))
        _count(self.by_outcome, str(outcome))
        _count(self.by_person, name)
        _count(self.by_day, str(at)[:10])
        if action == "sign_in" and outcome in ("failed", "denied"):
            _count(self.failed_sign_ins, str(event.get("target") or name))
        if outcome == "denied":
            _count(self.denied, f"{name or '-'}: {action}")


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < _DISTINCT else _OTHERS] += 1


def summary(manifest: dict, tally: Tally, language: Language) -> str:
    """The Markdown document; what people wrote is escaped."""

    def say(message: str, **params: object) -> str:
        return translate(message, language).format(**{name: _plain(str(value)) for name, value in params.items()})

    title, proves, proves_not = N_("Export of the audit"), N_("What this proves"), N_("What this does not prove")
    parts = [
        f"# {say(title)}",
        _facts(manifest, say),
        *(_table(say(heading), counts, say, newest) for heading, counts, newest in _tables(tally)),
        f"## {say(proves)}",
        *(say(text) for text in _PROVES),
        f"## {say(proves_not)}",
        *(f"- {say(text)}" for text in _PROVES_NOT),
    ]
    if tally.unreadable:
        parts.insert(2, say(N_("{number} events are damaged and could not be counted."), number=tally.unreadable))
    return "\n\n".join(parts) + "\n"


def _facts(manifest: dict, say) -> str:
    events, period = manifest["events"], manifest["period"]
    by = {"name": manifest["exported_by"]["name"], "at": manifest["exported_at"]}
    lines = [
        say(N_("Period (UTC): {since} to {until}"), since=period["since"] or "…", until=period["until"] or "…"),
        say(N_("Exported by {name} at {at}"), **by),
        say(N_("{count} events, {first_id} to {last_id}"), **events),
        say(N_("First event: {first_at}"), **events),
        say(N_("Last event: {last_at}"), **events),
        say(N_("Hash before the first event: {previous_hash}"), **events),
        say(N_("Hash of the last event: {last_hash}"), **events),
        say(N_("Sealed days: {number}"), number=len(manifest["seals"])),
        say(N_("Algorithm: {algorithm} {fingerprint}"), algorithm=manifest["algorithm"],
            fingerprint=manifest["key_fingerprint"]),
    ]  # fmt: skip
    return "\n".join(f"- {line.strip()}" for line in lines)


def _tables(tally: Tally) -> Iterable[tuple[str, Counter[str], bool]]:
    """(heading, counts, whether in the order of their names)"""
    return (
        (N_("By action"), tally.by_action, False),
        (N_("By outcome"), tally.by_outcome, False),
        (N_("By person"), tally.by_person, False),
        (N_("By day"), tally.by_day, True),
        (N_("Failed sign-ins"), tally.failed_sign_ins, False),
        (N_("Denied acts"), tally.denied, False),
    )


def _table(heading: str, counts: Counter[str], say, by_name: bool) -> str:
    """The most frequent, and how many the others are; days all of them, in order."""
    rows = sorted(counts.items()) if by_name else counts.most_common(_SHOWN)
    lines = [f"## {heading} ({counts.total()})", ""]
    if rows:
        lines += ["| | |", "|---|---:|", *(f"| {_plain(name) or '-'} | {number} |" for name, number in rows)]
        if rest := counts.total() - sum(number for _, number in rows):
            others = N_("others")
            lines.append(f"| {say(others)} | {rest} |")
    else:
        lines.append(say(N_("None.")))
    return "\n".join(lines)


def _plain(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
