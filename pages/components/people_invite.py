"""A new account: its name and roles, then the link to hand over."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from pages.components import dialogs, errors
from pages.components.account import ROLE_NAMES
from pages.components.context import _, services
from pages.components.text import escape
from services.permissions import Actor, Role

INVITE, LINK = "invite", "link"


def button() -> None:
    st.button(
        _("Invite"), icon=":material/person_add:", type="primary", on_click=dialogs.open_dialog, args=(INVITE, None)
    )


def draw(user: Actor) -> None:
    """The dialogs of this page: the form, and any link that was just made."""
    dialogs.draw(INVITE, _("Invite somebody"), ":material/person_add:", lambda _about: _form(user))
    dialogs.draw(LINK, _("One-time link"), ":material/link:", show_link)


def show_link(about: tuple[str, str]) -> None:
    """about: (name, token). The token is shown this once; only its hash is kept."""
    name, token = about
    st.markdown(
        _(
            "Give this link to **{name}**. It lets them set a password once, within {hours} hours. "
            "It cannot be shown again.",
            name=escape(name),
            hours=services().settings.link_hours,
        )
    )
    st.code(f"{_address()}/auth/link/{token}", language=None, wrap_lines=True)
    if st.button(_("Done"), type="primary"):
        dialogs.close()
        st.rerun()


def _form(user: Actor) -> None:
    with st.form("invite", border=False):
        name = st.text_input(_("Name to sign in with"), max_chars=100, placeholder="li.na@example.com")
        full_name = st.text_input(_("Full name (optional)"), max_chars=200)
        roles = st.pills(
            _("Roles"), list(Role), selection_mode="multi", default=[Role.USER], format_func=lambda r: _(ROLE_NAMES[r])
        )
        sent = st.form_submit_button(_("Make the account"), type="primary")
    if not sent:
        return
    with errors.shown():
        _person_id, token = services().people.invite(user, name, roles, full_name=full_name)
        dialogs.open_dialog(LINK, (name, token))
        st.rerun()


def _address() -> str:
    """Where people reach the portal: as set, else as this browser does."""
    if services().settings.public_url:
        return services().settings.public_url.rstrip("/")
    here = urlsplit(st.context.url or "")
    return f"{here.scheme}://{here.netloc}"
