"""Which collections are searched."""

from __future__ import annotations

import streamlit as st

from pages.components.context import _, services
from pages.components.text import escape
from services.permissions import Actor


def choose(user: Actor) -> list[int] | None:
    """Ids of the chosen collections; None: all of them. With one collection there is nothing to choose."""
    names = {collection.id: collection.name for collection in services().library.collections(user)}
    if len(names) < 2:
        return None
    chosen = [id_ for id_ in st.session_state.get("scope", []) if id_ in names]
    label = _("All collections") if not chosen else _("{n} collections", n=len(chosen))
    if len(chosen) == 1:
        label = escape(names[chosen[0]])
    with st.popover(label, icon=":material/filter_list:", type="tertiary", key="scope_popover"):
        st.pills(
            _("Search only in"),
            list(names),
            selection_mode="multi",
            format_func=lambda id_: escape(names[id_]),
            key="scope",
        )
    return chosen or None
