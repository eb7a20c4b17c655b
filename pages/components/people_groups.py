"""Groups: what collections are opened to, instead of to each person."""

from __future__ import annotations

import streamlit as st

from pages.components import dialogs, errors
from pages.components.context import _, services
from pages.components.text import escape
from services.permissions import Actor

REMOVE = "remove_group"


def draw(user: Actor) -> None:
    people = services().people
    with st.form("group", border=False, clear_on_submit=True):
        name = st.text_input(_("New group"), max_chars=200, placeholder=_("For example a department"))
        if st.form_submit_button(_("Make the group"), icon=":material/group_add:"):
            with errors.shown():
                people.add_group(user, name)
    groups = people.groups(user)
    if not groups:
        st.info(
            _("No groups yet. With groups you open a collection to a department instead of to each person."),
            icon=":material/groups:",
        )
    for group in groups:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{escape(group.name)}** · " + _("members: {n}", n=group.members), width="stretch")
            st.button(
                _("Delete"),
                icon=":material/delete:",
                type="tertiary",
                key=f"remove-group-{group.id}",
                on_click=dialogs.open_dialog,
                args=(REMOVE, (group.id, group.name)),
            )
    dialogs.draw(REMOVE, _("Delete this group?"), ":material/delete:", lambda about: _confirm(about, user))


def _confirm(about: tuple[int, str], user: Actor) -> None:
    group_id, name = about
    st.markdown(
        _("Members of **{name}** lose the collections that they may read only through this group.", name=escape(name))
    )
    with st.container(horizontal=True):
        if st.button(_("Delete"), type="primary", key="remove_group_now"):
            with errors.shown():
                services().people.remove_group(user, group_id)
                dialogs.close()
                st.rerun()
        if st.button(_("Cancel"), key="keep_group", on_click=dialogs.close):
            st.rerun()
