"""Everybody with an account, and what can be done about the chosen one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from pages.components import dialogs, errors, people_invite
from pages.components.account import ROLE_NAMES, roles
from pages.components.context import _, services
from pages.components.formats import when
from pages.components.text import escape
from services.permissions import Actor, Role

if TYPE_CHECKING:
    from services.accounts.people import PersonView

DISABLE = "disable_person"
ROW_HEIGHT, MOST_ROWS = 35, 12


def draw(user: Actor) -> None:
    people = services().people.list(user)
    groups = {group.id: group.name for group in services().people.groups(user)}
    wanted = st.text_input(
        _("Find a person"), icon=":material/search:", placeholder=_("Name"), label_visibility="collapsed"
    ).casefold()
    shown = [person for person in people if wanted in f"{person.name} {person.full_name} {person.email}".casefold()]
    if not shown:
        st.info(_("Nobody of that name."), icon=":material/search_off:")
        return
    chosen = _table(shown, groups)
    if chosen is None:
        st.caption(_("Choose a row to change roles and groups, disable an account or make a link."))
        return
    _card(shown[chosen], groups, user)
    dialogs.draw(DISABLE, _("Disable this account?"), ":material/block:", lambda about: _confirm(about, user))


def _table(people: list[PersonView], groups: dict[int, str]) -> int | None:
    """The chosen row's number."""
    rows = pd.DataFrame(
        {
            _("Name"): [person.name for person in people],
            _("Full name"): [person.full_name for person in people],
            _("Roles"): [roles(person.roles) for person in people],
            _("Groups"): [_(", ").join(groups.get(id_, "") for id_ in person.groups) for person in people],
            _("State"): [_state(person) for person in people],
            _("Last used"): [when(person.seen_at) if person.seen_at else "–" for person in people],
        }
    )
    height = ROW_HEIGHT * (min(len(people), MOST_ROWS) + 1) + 3
    event = st.dataframe(
        rows, hide_index=True, on_select="rerun", selection_mode="single-row", height=height, key="people"
    )
    return next((row for row in event.selection.rows if row < len(people)), None)


def _state(person: PersonView) -> str:
    if person.disabled:
        return _("Disabled")
    if person.locked:
        return _("Locked")
    return {"invited": _("Invited"), "sso": _("Single sign-on")}.get(person.method, _("Active"))


def _card(person: PersonView, groups: dict[int, str], user: Actor) -> None:
    with st.container(border=True):
        st.subheader(escape(person.full_name or person.name), anchor=False)
        _roles_and_groups(person, groups, user)
        with st.container(horizontal=True):
            _actions(person, user)


def _roles_and_groups(person: PersonView, groups: dict[int, str], user: Actor) -> None:
    own, people = person.id == user.id, services().people
    with st.form(f"person-{person.id}", border=False):
        chosen = st.pills(
            _("Roles"),
            list(Role),
            selection_mode="multi",
            default=[role for role in Role if role in person.roles],
            format_func=lambda role: _(ROLE_NAMES[role]),
            disabled=own or person.method == "sso",
            help=_("Whoever gets other roles has to sign in again."),
        )
        memberships = st.multiselect(
            _("Groups"), list(groups), default=list(person.groups), format_func=groups.get, placeholder=_("None")
        )
        if not st.form_submit_button(_("Save"), icon=":material/check:"):
            return
    with errors.shown():
        if frozenset(chosen) != person.roles and not own:
            people.set_roles(user, person.id, chosen)
        if set(memberships) != set(person.groups):
            people.set_groups(user, person.id, memberships)
        st.toast(_("Saved"), icon=":material/check:")
        st.rerun()


def _actions(person: PersonView, user: Actor) -> None:
    people = services().people
    if person.method != "sso" and st.button(_("Link for a new password"), icon=":material/link:"):
        with errors.shown():
            dialogs.open_dialog(people_invite.LINK, (person.name, people.reset(user, person.id)))
            st.rerun()
    if person.locked and st.button(_("Unlock"), icon=":material/lock_open:"):
        with errors.shown():
            people.unlock(user, person.id)
            st.rerun()
    if person.id == user.id:
        return
    if person.disabled:
        if st.button(_("Enable"), icon=":material/check_circle:"):
            with errors.shown():
                people.enable(user, person.id)
                st.rerun()
    else:
        about = (person.id, person.name)
        st.button(_("Disable"), icon=":material/block:", on_click=dialogs.open_dialog, args=(DISABLE, about))


def _confirm(about: tuple[str, str], user: Actor) -> None:
    person_id, name = about
    st.markdown(
        _(
            "**{name}** is signed out at once and cannot sign in any more. Nothing of theirs is deleted; "
            "you can enable the account again.",
            name=escape(name),
        )
    )
    with st.container(horizontal=True):
        if st.button(_("Disable"), type="primary", key="disable_now"):
            with errors.shown():
                services().people.disable(user, person_id)
                dialogs.close()
                st.rerun()
        if st.button(_("Cancel"), key="keep_person", on_click=dialogs.close):
            st.rerun()
