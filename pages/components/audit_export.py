"""A period of the record as one file that can be checked without the portal."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors
from pages.components.audit_filter import zone
from pages.components.context import _, services
from pages.components.formats import count
from services.permissions import Actor

if TYPE_CHECKING:
    from services.audit.export import Exported

EXPORT = "audit_export"
MADE = "audit_export_made"


def button() -> None:
    st.button(_("Export"), icon=":material/download:", on_click=_open)


def draw(user: Actor) -> None:
    dialogs.draw(EXPORT, _("Export the record"), ":material/download:", partial(_form, user), wide=True)


def _open() -> None:
    st.session_state.pop(MADE, None)
    dialogs.open_dialog(EXPORT, None)


def _form(user: Actor, _about: object) -> None:
    st.markdown(
        _(
            "A zip file with all events of the period as CSV and JSON lines, their hashes, a summary in Chinese and "
            "English, and a script that verifies it without the portal."
        )
    )
    today = datetime.now(zone()).date()
    with st.form("export", border=False):
        dates = st.date_input(_("From – to"), value=(today - timedelta(days=30), today), max_value=today)
        started = st.form_submit_button(_("Make the file"), type="primary", icon=":material/folder_zip:")
    if started and len(dates) == 2:
        with errors.shown():
            st.session_state[MADE] = _made(user, *dates)
    if MADE in st.session_state:
        _download(st.session_state[MADE])


def _made(user: Actor, first, last) -> Exported:
    bar = st.progress(0.0, _("Writing the file"))
    since = datetime.combine(first, time(), zone())
    until = datetime.combine(last + timedelta(days=1), time(), zone())
    exported = services().audit_log.export(user, since, until, lambda share: bar.progress(min(share, 1.0)))
    bar.empty()
    return exported


def _download(exported: Exported) -> None:
    st.success(
        _("{n} events, no. {first} to {last}", n=count(exported.events), first=exported.first_id, last=exported.last_id)
    )
    st.download_button(
        _("Download"),
        data=exported.path.read_bytes,
        file_name=exported.path.name,
        mime="application/zip",
        icon=":material/download:",
        type="primary",
        on_click="ignore",
    )
    st.caption(_("Head of the record when it was exported: keep it apart from the file."))
    st.code(exported.head, language=None, wrap_lines=True)
