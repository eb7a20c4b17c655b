"""The person's own corner of the sidebar: account, sign out."""

from __future__ import annotations

import streamlit as st

from pages.components import browser, identity
from pages.components.context import _, services
from pages.components.text import escape
from services.permissions import Actor


def draw(user: Actor) -> None:
    with st.popover(escape(user.name), icon=":material/account_circle:", width="stretch"):
        st.page_link("pages/account.py", label=_("My account"), icon=":material/manage_accounts:", width="stretch")
        if st.button(_("Sign out"), icon=":material/logout:", width="stretch", key="sign_out"):
            browser.go_to(identity.sign_out(services(), user))
            st.stop()
