"""What a person can do with their own account."""

from __future__ import annotations

import streamlit as st

from pages.components import browser, errors, formats, identity
from pages.components.context import _, services
from pages.components.text import escape
from services.permissions import Actor, Role
from services.translation import N_

ROLE_NAMES = {Role.USER: N_("User"), Role.ADMIN: N_("Administrator"), Role.AUDITOR: N_("Auditor")}
CHANGED = "password_changed"


def roles(held: frozenset[Role]) -> str:
    """The roles in words, in the order of the enumeration."""
    return _(", ").join(_(ROLE_NAMES[role]) for role in Role if role in held)


def about(user: Actor) -> None:
    st.markdown(f"**{escape(user.name)}** · {roles(user.roles)}")


def change_password(user: Actor) -> None:
    accounts = services().accounts
    if not accounts.has_password(user):
        st.info(_("You sign in through the company's provider; your password is kept there."), icon=":material/key:")
        return
    st.subheader(_("Change password"), anchor=False)
    if st.session_state.pop(CHANGED, False):
        st.success(_("Your password is changed. All other sessions have ended."), icon=":material/check:")
    with st.form("password", clear_on_submit=True, enter_to_submit=False):
        old = st.text_input(_("Present password"), type="password", autocomplete="current-password")
        new = st.text_input(
            _("New password"),
            type="password",
            autocomplete="new-password",
            help=_("At least {length} characters.", length=accounts.passwords.min_length),
        )
        again = st.text_input(_("New password once more"), type="password", autocomplete="new-password")
        if not st.form_submit_button(_("Change password"), type="primary"):
            return
    if new != again:
        st.error(_("The two passwords are not the same."), icon=":material/error:")
        return
    with errors.shown():
        accounts.change_password(user, old, new, keep=identity.session_token())
        st.session_state[CHANGED] = True
        st.rerun()


def sessions(user: Actor) -> None:
    """Where the person is signed in, and a way to end it all."""
    st.subheader(_("Where you are signed in"), anchor=False)
    for session in services().accounts.own_sessions(user, identity.session_token()):
        with st.container(border=True):
            here = " · **" + _("this browser") + "**" if session.current else ""
            st.markdown(f"{escape(formats.browser(session.browser))} · {escape(session.address)}{here}")
            st.caption(
                _(
                    "Signed in {begun}, last used {seen}",
                    begun=formats.when(session.created_at),
                    seen=formats.when(session.seen_at),
                )
            )
    if st.button(_("Sign out everywhere"), icon=":material/logout:"):
        services().accounts.sign_out_everywhere(user)
        browser.go_to("/auth/sign-in?ended=1")
        st.stop()
