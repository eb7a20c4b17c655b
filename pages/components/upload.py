"""Adding files: several at once, each with its own outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import errors
from pages.components.context import _, language, services
from pages.components.formats import count
from pages.components.text import escape
from services.errors import PortalError
from services.permissions import Actor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from services.documents.library import Collection

STYLES = Path(__file__).parent / "styles"
OUTCOMES = "upload_outcomes"
REFUSALS_SHOWN = 5  # the rest is folded


@dataclass(frozen=True)
class Outcomes:
    """What came of one upload. refused: file name and why."""

    added: int
    already_there: list[str]
    refused: list[tuple[str, PortalError]]


def draw(user: Actor, collections: Sequence[Collection]) -> None:
    """Drop zone, collection, button; and what came of the last upload.

    collections: that the person may add to; without one the first upload makes one of their own.
    """
    limit_mib = services().settings.upload_max_mib
    own = _("Documents of {name}", name=user.name)
    names = {collection.id: collection.name for collection in collections} or {None: own}
    st.html(STYLES / f"uploader.{language()}.css")
    with st.form("upload", clear_on_submit=True):
        files = st.file_uploader(
            _("PDF and Word files (.docx), up to {limit} MB each", limit=limit_mib),
            accept_multiple_files=True,
            max_upload_size=limit_mib,
            key="files",
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            collection_id = st.selectbox(
                _("Collection"), list(names), format_func=lambda id_: names[id_], key="upload_collection"
            )
            submitted = st.form_submit_button(_("Add"), type="primary", icon=":material/upload_file:")
    if submitted and files:
        collection_id = collection_id or services().library.ensure_collection(own, user).id
        st.session_state[OUTCOMES] = _add(files, collection_id, user)
    _draw_outcomes(st.session_state.get(OUTCOMES))


def new_collection(user: Actor) -> None:
    with st.popover(_("New collection"), icon=":material/create_new_folder:", type="tertiary"):
        with st.form("new_collection", border=False, clear_on_submit=True):
            name = st.text_input(_("Name of the collection"), max_chars=80)
            submitted = st.form_submit_button(_("Create"), width="stretch")
        if submitted and name.strip():
            with errors.shown():
                services().library.ensure_collection(name, user)
                st.rerun()


def _add(files: Sequence[UploadedFile], collection_id: int, user: Actor) -> Outcomes:
    """Store every file; one that is refused harms no other."""
    library = services().library
    known = {document.id for document in library.list(user, [collection_id])}
    added, already_there, refused = 0, [], []
    progress = st.progress(0.0)
    for number, file in enumerate(files, start=1):
        progress.progress(number / len(files), _("Storing file {n} of {total}", n=number, total=len(files)))
        try:
            document = library.add(file, file.name, actor=user, collection_id=collection_id)
        except PortalError as error:
            refused.append((file.name, error))
            continue
        if document.id in known:
            already_there.append(file.name)
        else:
            added += 1
            known.add(document.id)
    progress.empty()
    return Outcomes(added, already_there, refused)


def _draw_outcomes(outcomes: Outcomes | None) -> None:
    if outcomes is None:
        return
    if outcomes.added:
        st.success(_("Added: {n}. They are being read now.", n=count(outcomes.added)), icon=":material/check_circle:")
    if outcomes.already_there:
        names = ", ".join(escape(name) for name in outcomes.already_there[:REFUSALS_SHOWN])
        st.info(_("Already in this collection: {names}", names=names), icon=":material/content_copy:")
    for name, error in outcomes.refused[:REFUSALS_SHOWN]:
        _refusal(name, error)
    if len(outcomes.refused) > REFUSALS_SHOWN:
        with st.expander(_("{n} more files were refused", n=count(len(outcomes.refused) - REFUSALS_SHOWN))):
            for name, error in outcomes.refused[REFUSALS_SHOWN:]:
                _refusal(name, error)


def _refusal(name: str, error: PortalError) -> None:
    st.error(f"{escape(name)}  \n{errors.in_words(error)}", icon=":material/block:")
