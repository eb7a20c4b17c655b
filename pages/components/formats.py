"""Numbers and times as the person at the screen writes them."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from pages.components.context import _, language

MIB = 1 << 20
GIB = 1 << 30
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
# The first that is found in a User-Agent tells most: Edge calls itself Chrome too, and Chrome Safari.
BROWSERS = {"Edg/": "Edge", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
SYSTEMS = {
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iOS",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "Linux": "Linux",
}


def when(moment: datetime) -> str:
    """A UTC time in the browser's time zone, short."""
    from babel.dates import format_datetime, get_timezone

    locale = "zh_CN" if language() == "zh" else "en_GB"
    return format_datetime(moment, "short", tzinfo=get_timezone(st.context.timezone or "UTC"), locale=locale)


def exactly(moment: datetime) -> str:
    """A UTC time in the browser's time zone, to the second."""
    from babel.dates import get_timezone

    return moment.astimezone(get_timezone(st.context.timezone or "UTC")).strftime("%Y-%m-%d %H:%M:%S")


def size(size_bytes: int) -> str:
    if size_bytes < MIB:
        return f"{max(1, round(size_bytes / 1024))} KB"
    return f"{size_bytes / MIB:.1f} MB" if size_bytes < GIB else f"{size_bytes / GIB:.1f} GB"


def gib(mib: float) -> str:
    """Memory, given in MiB; what would read 0.0 stays in MiB."""
    return f"{mib / 1024:.1f} GiB" if abs(mib) >= 100 else f"{mib:.0f} MiB"


def span(seconds: float) -> str:
    """How long something takes or has been, in its two largest units."""
    whole = round(seconds)
    if whole < 2 * MINUTE_S:
        return _("{n} s", n=whole)
    if whole < HOUR_S:
        return _("{n} min", n=round(whole / MINUTE_S))
    if whole < DAY_S:
        return _("{h} h {min} min", h=whole // HOUR_S, min=whole % HOUR_S // MINUTE_S)
    return _("{d} d {h} h", d=whole // DAY_S, h=whole % DAY_S // HOUR_S)


def count(number: int) -> str:
    return f"{number:,}"


def duration(duration_ms: float) -> str:
    """Milliseconds up to a second, then seconds."""
    if duration_ms < 1000:
        return _("{n} ms", n=round(duration_ms))
    return _("{n} s", n=f"{duration_ms / 1000:.1f}")


def browser(user_agent: str) -> str:
    """A browser and its system in two words; what we do not know is said as it came."""
    name = next((name for mark, name in BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS.items() if mark in user_agent), "")
    return " · ".join(filter(None, (name, system))) or user_agent[:60] or "?"
