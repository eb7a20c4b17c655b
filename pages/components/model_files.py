"""A model's files: verified, removed, carried in and out as a bundle."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors, model_words
from pages.components.context import _, services
from pages.components.formats import exactly, size
from pages.components.text import escape
from services.errors import NotFound
from services.permissions import Actor
from services.translation import N_

if TYPE_CHECKING:
    from services.model_operations import ModelRow

VERIFY, REMOVE, EXPORT = "model-verify", "model-remove", "model-export"
FORGET, IMPORT = "model-forget", "model-import"


def import_button() -> None:
    icon = ":material/unarchive:"
    dialogs.button(_("Import a bundle"), IMPORT, None, icon=icon, key="import_bundle", type="tertiary")


def draw(user: Actor) -> None:
    dialogs.draw(VERIFY, _("Verify the files"), ":material/verified:", partial(_verify, user))
    dialogs.draw(REMOVE, _("Remove the files?"), ":material/delete:", partial(_remove, user))
    dialogs.draw(EXPORT, _("Export a bundle"), ":material/archive:", partial(_export, user))
    dialogs.draw(FORGET, _("Take out of the catalogue?"), ":material/playlist_remove:", partial(_forget, user))
    dialogs.draw(IMPORT, _("Import a bundle"), ":material/unarchive:", partial(_import, user))


def _verify(user: Actor, model_id: str) -> None:
    with errors.shown():
        row = _row(model_id, user)
        _named(row)
        st.markdown(_("Every file is read and compared with its SHA-256. That takes a few seconds a gigabyte."))
        if row.verified_at:
            st.caption(_("Last found right: {when}", when=exactly(row.verified_at)))
        if st.button(_("Verify now"), type="primary", key="verify_now"):
            with st.spinner(_("Reading…")):
                services().model_operations.verify(model_id, user)
            st.success(_("Every byte is as it should be."), icon=":material/verified:")


def _remove(user: Actor, model_id: str) -> None:
    with errors.shown():
        row = _row(model_id, user)
        _named(row)
        freed = size(model_words.variant_of(row).size_bytes)
        st.markdown(_("Frees about {n} on the disk. The model can be fetched again at any time.", n=freed))
        if _answered(_("Remove")):
            services().model_operations.remove(model_id, user)
            _done(_("Removed"))


def _forget(user: Actor, entry_id: str) -> None:
    with errors.shown():
        st.markdown(f"**{escape(entry_id)}**")
        st.markdown(_("The entry, its files on this server and its key, if it has one, are deleted."))
        if _answered(_("Take out")):
            services().model_operations.forget(entry_id, user)
            _done(_("Removed"))


def _export(user: Actor, model_id: str) -> None:
    with errors.shown():
        _named(_row(model_id, user))
        st.markdown(_("One file with the model, its licence and its hashes: to carry to a portal without internet."))
        folder = escape(str(services().settings.bundles_dir))
        st.caption(_("Written on the server, into {folder}", folder=folder))
        if st.button(_("Export"), type="primary", key="export_now"):
            with st.spinner(_("Writing…")):
                path = services().model_operations.export_bundle(model_id, user)
            st.success(_("Written: {path}", path=escape(str(path))), icon=":material/check:")


def _import(user: Actor, _about: object) -> None:
    st.markdown(_("A bundle that a portal exported. Its hashes are checked before anything is used."))
    found = services().model_operations.bundles(user)
    if not found:
        st.info(_("Put the file into the folder bundles of the portal's own folder on the server first."))
        return
    name = st.selectbox(_("File on the server"), found, key="import_path")
    with errors.shown():
        if st.button(_("Import"), type="primary", key="import_now"):
            with st.spinner(_("Reading and checking…")):
                model_id = services().model_operations.import_bundle(name, user)
            _done(_("Imported: {model}", model=model_id))


def _row(model_id: str, user: Actor) -> ModelRow:
    for row in services().model_operations.catalogue(user):
        if row.model_id == model_id:
            return row
    raise NotFound(N_("This model is no longer in the catalogue."))


def _named(row: ModelRow) -> None:
    st.markdown(f"**{escape(model_words.model(row))}**")


def _answered(label: str) -> bool:
    with st.container(horizontal=True):
        yes = st.button(label, type="primary", key="files_yes")
        if st.button(_("Cancel"), key="files_no", on_click=dialogs.close):
            st.rerun()
    return yes


def _done(words: str) -> None:
    dialogs.close()
    st.toast(words, icon=":material/check:")
    st.rerun()
