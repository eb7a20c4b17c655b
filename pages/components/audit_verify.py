"""The whole chain looked at, with a head that was saved before if there is one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors
from pages.components.context import _, services
from pages.components.formats import count
from pages.components.text import escape
from services.permissions import Actor

if TYPE_CHECKING:
    from services.audit.verification import Verification

VERIFY = "audit_verify"


def button() -> None:
    st.button(_("Verify"), icon=":material/verified:", on_click=dialogs.open_dialog, args=(VERIFY, None))


def draw(user: Actor) -> None:
    dialogs.draw(VERIFY, _("Verify the record"), ":material/verified:", partial(_form, user), wide=True)


def _form(user: Actor, _about: object) -> None:
    st.markdown(
        _(
            "Every event is checked against the hash of the one before it. With a head that you saved earlier, a cut "
            "end is found too."
        )
    )
    with st.form("verify", border=False):
        line = st.text_input(_("A saved head (optional)"), placeholder="1234:9f86d0…:2026-11-22T08:00:00.000000Z")
        started = st.form_submit_button(_("Verify"), type="primary", icon=":material/verified:")
    if started:
        with errors.shown():
            _run(user, line)


def _run(user: Actor, line: str) -> None:
    bar = st.progress(0.0, _("Verifying"))

    def advance(done: int, total: int) -> None:
        bar.progress(
            min(done / max(total, 1), 1.0), _("{done} of {total} events", done=count(done), total=count(total))
        )

    result = services().audit_log.verify(user, line, advance)
    bar.empty()
    _verdict(result)
    st.markdown(_("The head of today. Print it, or keep it somewhere else than here:"))
    st.code(str(services().audit_log.head(user)), language=None, wrap_lines=True)


def _verdict(result: Verification) -> None:
    seconds = f"{result.seconds:.1f}"
    if result.ok:
        st.success(
            _("The record is whole: {n} events verified in {seconds} s.", n=count(result.events), seconds=seconds),
            icon=":material/verified:",
        )
        return
    for finding in result.findings:
        st.error(escape(_(finding.message, **finding.params)), icon=":material/gpp_bad:")
