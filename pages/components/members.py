"""Who may read and edit a collection: a dialog for its editors and for administrators."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import dialogs, errors
from pages.components.context import _, services
from services.permissions import Actor, Permission

if TYPE_CHECKING:
    from services.documents.library import Collection
    from services.documents.membership import Member

MEMBERS = "members"
EVERYBODY = "everybody"


def button(user: Actor) -> None:
    """Only for who has something to manage."""
    if _manageable(user):
        st.button(
            _("Members"), icon=":material/group:", type="tertiary", on_click=dialogs.open_dialog, args=(MEMBERS, None)
        )


def draw(user: Actor) -> None:
    dialogs.draw(MEMBERS, _("Members of a collection"), ":material/group:", partial(_choose, user), wide=True)


def _manageable(user: Actor) -> list[Collection]:
    library = services().library
    if user.may(Permission.MANAGE_COLLECTIONS):
        return library.managed_collections(user)
    return library.editable_collections(user)


def _choose(user: Actor, _about: object) -> None:
    names = {collection.id: collection.name for collection in _manageable(user)}
    collection_id = st.selectbox(_("Collection"), list(names), format_func=names.get, key="members_of")
    if collection_id is None:
        return
    with errors.shown():
        _form(user, collection_id)


def _form(user: Actor, collection_id: int) -> None:
    """Two lists of the same people and groups; who is in both may edit."""
    membership = services().membership
    known = {_key(member): member for member in membership.candidates(user, collection_id)}
    present = membership.members(user, collection_id)
    known |= {_key(member): member for member in present}  # a disabled person stays a member
    held = {access: [_key(m) for m in present if m.access == access] for access in ("reader", "editor")}
    with st.form(f"members-{collection_id}", border=False):
        readers = st.multiselect(
            _("May read"),
            list(known),
            default=held["reader"],
            format_func=partial(_label, known),
            placeholder=_("Nobody"),
        )
        editors = st.multiselect(
            _("May also add, delete, and choose members"),
            list(known),
            default=held["editor"],
            format_func=partial(_label, known),
            placeholder=_("Nobody"),
        )
        st.caption(_("Changes take effect with the next question or click of everybody concerned."))
        if not st.form_submit_button(_("Save"), type="primary", icon=":material/check:"):
            return
    chosen = [replace(known[key], access="reader") for key in readers if key not in editors]
    chosen += [replace(known[key], access="editor") for key in editors]
    membership.set_members(user, collection_id, chosen)
    dialogs.close()
    st.toast(_("Saved"), icon=":material/check:")
    st.rerun()


def _key(member: Member) -> str:
    if member.person_id:
        return f"person:{member.person_id}"
    return f"group:{member.group_id}" if member.group_id else EVERYBODY


def _label(known: dict[str, Member], key: str) -> str:
    member = known[key]
    if key == EVERYBODY:
        return _("Everybody")
    return _("Group {name}", name=member.name) if member.group_id else member.name
