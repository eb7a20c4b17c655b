"""One document on the Documents page: what it is, how far it is, and what can be done with it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors
from pages.components.context import _, language, services
from pages.components.formats import count, duration, size, when
from pages.components.text import escape
from services.errors import PasswordNeeded, PortalError
from services.permissions import Actor
from services.translation import N_, explain

if TYPE_CHECKING:
    from services.documents.library import Document

DELETING = "delete-document"
STEPS = {"read": N_("Reading"), "index": N_("Text index"), "embed": N_("Vectors"), "store": N_("Storing vectors")}


def draw(document: Document, user: Actor, *, editable: bool) -> None:
    """editable: the person may delete it and try it again."""
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{escape(document.title)}**", width="stretch")
            _badge(document)
            if editable:
                _menu(document, user)
        st.caption(_facts(document))
        _progress(document)
        if document.error:
            _failure(document, PortalError.from_record(document.error), user, editable)
        for note in document.notes:
            message, hint = explain(PortalError.from_record(note), language())
            st.caption(f":orange[:material/info:] {escape(f'{message} {hint}'.strip())}")


def confirm_deletion(user: Actor) -> None:
    """The question before the deletion, if it was asked for."""
    dialogs.draw(DELETING, _("Delete this document?"), ":material/delete:", partial(_confirm, user))


def _badge(document: Document) -> None:
    match document.state:
        case "queued":
            st.badge(_("Waiting"), icon=":material/schedule:", color="gray")
        case "reading":
            st.badge(_("Being read"), icon=":material/menu_book:", color="blue")
        case "embedding":
            st.badge(_("Ready to ask"), icon=":material/check:", color="green")
        case "ready":
            st.badge(_("Ready"), icon=":material/check_circle:", color="green")
        case _:
            st.badge(_("Failed"), icon=":material/error:", color="red")


def _facts(document: Document) -> str:
    """Kind, size, length, and when it came."""
    facts = [{"pdf": "PDF", "docx": "Word"}.get(document.format, document.format), size(document.size_bytes)]
    if document.pages_total and document.format == "pdf":
        facts.append(_("{n} pages", n=count(document.pages_total)))
    if document.chunks_total:
        facts.append(_("{n} passages", n=count(document.chunks_total)))
    facts.append(when(document.uploaded_at))
    return escape(" · ".join(facts))


def _progress(document: Document) -> None:
    """Reading by pages, then vectors by passages."""
    if document.state == "reading" and document.pages_total:
        done, total = document.pages_done, document.pages_total
        words = (
            _("Reading page {n} of {total}", n=count(done), total=count(total))
            if document.format == "pdf"
            else _("Reading paragraph {n} of {total}", n=count(done), total=count(total))
        )
        st.progress(min(done / total, 1.0), words)
    elif document.state == "embedding" and document.chunks_total:
        share = min(document.chunks_done / document.chunks_total, 1.0)
        st.progress(
            share, _("You can ask already. Search by meaning is being prepared: {share} %", share=int(share * 100))
        )


def _failure(document: Document, error: PortalError, user: Actor, editable: bool) -> None:
    st.markdown(f":red[:material/error:] {errors.in_words(error)}")
    if not editable or document.state != "failed":
        return
    with errors.shown():
        if isinstance(error, PasswordNeeded):
            _unlock(document, user)
        elif st.button(_("Try again"), icon=":material/refresh:", key=f"retry-{document.id}"):
            services().library.retry(document.id, user)
            st.rerun()


def _unlock(document: Document, user: Actor) -> None:
    with st.form(f"unlock-{document.id}", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        password = st.text_input(_("Password of the file"), type="password", autocomplete="off")
        submitted = st.form_submit_button(_("Unlock"), icon=":material/lock_open:")
    if submitted and password:
        services().library.retry(document.id, user, password=password)
        st.rerun()


def _menu(document: Document, user: Actor) -> None:
    with st.popover(" ", icon=":material/more_vert:", type="tertiary", help=_("More"), key=f"menu-{document.id}"):
        for key, name in STEPS.items():
            if key in document.timings_ms:
                st.caption(f"{_(name)}: {duration(document.timings_ms[key])}")
        if st.button(_("Delete"), icon=":material/delete:", key=f"delete-{document.id}", width="stretch"):
            dialogs.open_dialog(DELETING, document.id)
            st.rerun()  # of the whole page: a dialog of the refreshing list would close with its next refresh


def _confirm(user: Actor, document_id: int) -> None:
    with errors.shown():
        document = services().library.get(document_id, user)
        st.markdown(f"**{escape(document.title)}**")
        st.markdown(
            _(
                "The file, its {n} passages and their index entries are deleted. Answers given so far keep their words "
                "and quotes, but their pages can no longer be opened.",
                n=count(document.chunks_total),
            )
        )
        with st.container(horizontal=True):
            if st.button(_("Delete"), type="primary", key="delete_document"):
                services().library.delete(document_id, user)
                dialogs.close()
                st.rerun()
            if st.button(_("Cancel"), key="keep_document", on_click=dialogs.close):
                st.rerun()
