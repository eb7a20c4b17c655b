"""One model of the catalogue with its variants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors, model_files, model_switch, model_words
from pages.components.context import _, language, services
from pages.components.formats import size
from pages.components.text import escape
from services.permissions import Actor

if TYPE_CHECKING:
    from services.engines.entries import CatalogueEntry
    from services.model_operations import ModelRow

NAME_WIDTH, SIZE_WIDTH = 200, 80  # pixels, so that they stand below one another


def draw(rows: list[ModelRow], user: Actor) -> None:
    """rows: the variants of one entry that are to be seen. The best one here is in sight, the others folded."""
    entry = rows[0].entry
    with st.container(border=True, gap="xsmall", key=f"entry-{entry.id}"):
        _head(rows[0])
        best = min(rows, key=_rank)
        _variant(best, user)
        others = [row for row in rows if row is not best]
        label = _("Hardware and other variants ({n})", n=len(others)) if others else _("Hardware")
        folded = st.expander(label, type="compact", on_change="rerun", key=f"variants-{entry.id}")
        if folded.open:  # what is folded is not drawn: some sixty variants make a page slow
            with folded:
                _background(entry)
                for row in others:
                    _variant(row, user)


def _rank(row: ModelRow) -> tuple:
    """What serves, what is here, what is on its way, what fits (the largest first), the smallest."""
    fits = bool(row.estimate and row.estimate.fits)
    needed_mib = row.estimate.needed_mib if row.estimate else float("inf")
    return (not row.serving, not row.ready, row.download is None, not fits, -needed_mib if fits else needed_mib)


def _head(row: ModelRow) -> None:
    entry = row.entry
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{escape(entry.name)}**", width="content")
        for role in entry.roles:
            st.badge(model_words.role(role), icon=model_words.ROLE_ICONS[role], color="gray")
        commercial = entry.licence.commercial
        st.badge(
            _(model_words.COMMERCIAL[commercial]),
            color=model_words.COMMERCIAL_COLOURS[commercial],
            help=escape(model_words.licence(entry.licence)),
        )
        if entry.external and entry.external.public:
            outside = _("Questions and passages leave this building.")
            st.badge(_("Outside this building"), icon=":material/public:", color="red", help=outside)
        if entry.custom:
            st.badge(_("Added here"), color="violet")
    facts = model_words.about(entry)
    if entry.external:
        facts.append(_("{model} at {url}", model=entry.external.model, url=entry.external.url))
    with st.container(gap=None):
        st.caption(escape(" · ".join(facts)))
        words = escape(model_words.licence(entry.licence))
        st.caption(_("Licence {spdx}: {words}", spdx=escape(entry.licence.spdx), words=words))


def _background(entry: CatalogueEntry) -> None:
    with st.container(gap=None):
        if hardware := model_words.hardware(entry):
            st.caption(escape(hardware))
        if note := entry.note(language()):
            st.caption(f":material/info: {escape(note)}")


def _variant(row: ModelRow, user: Actor) -> None:
    """One line; on a telephone it breaks."""
    variant = model_words.variant_of(row)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(model_words.variant(variant), width=NAME_WIDTH)
        st.markdown(f":small[:gray[{size(variant.size_bytes) if variant.size_bytes else '–'}]]", width=SIZE_WIDTH)
        with st.container(width="stretch"):
            _fit(row)
        _actions(row, user)


def _fit(row: ModelRow) -> None:
    if row.serving:
        st.badge(_("Serves {roles}", roles=model_words.roles(row.serving)), icon=":material/play_circle:", color="blue")
    elif row.estimate is None:
        words = _("no memory of this machine") if row.entry.external else _("memory not known yet")
        st.badge(words, color="gray")
    else:
        colour, icon = ("green", ":material/check:") if row.estimate.fits else ("red", ":material/close:")
        st.badge(model_words.fit(row.estimate), icon=icon, color=colour)


def _actions(row: ModelRow, user: Actor) -> None:
    model_id = row.model_id
    if row.ready:
        model_switch.button(_("Use"), None, model_id, key=f"use-{model_id}", icon=":material/play_arrow:")
    elif row.download and row.download.state in ("queued", "running", "paused"):
        st.caption(_("on its way, see above"), width="content")
    elif st.button(_("Fetch"), icon=":material/download:", key=f"fetch-{model_id}"):
        with errors.shown():
            services().model_operations.fetch(model_id, user)
            st.rerun()
    if row.ready or row.entry.custom:
        with st.popover(" ", icon=":material/more_vert:", type="tertiary", help=_("More"), key=f"more-{model_id}"):
            _menu(row)


def _menu(row: ModelRow) -> None:
    look = {"width": "stretch", "type": "tertiary"}
    model_id = row.model_id
    if row.ready and not row.entry.external:
        for label, kind, icon in (
            (_("Verify"), model_files.VERIFY, ":material/verified:"),
            (_("Export a bundle"), model_files.EXPORT, ":material/archive:"),
            (_("Remove the files"), model_files.REMOVE, ":material/delete:"),
        ):
            dialogs.button(label, kind, model_id, icon=icon, key=f"{kind}-{model_id}", **look)
    if row.entry.custom:
        label, icon = _("Take out of the catalogue"), ":material/playlist_remove:"
        dialogs.button(label, model_files.FORGET, row.entry.id, icon=icon, key=f"forget-{model_id}", **look)
