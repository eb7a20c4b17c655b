"""Home: what can be done here, how things stand, and the way back to recent questions."""

import streamlit as st

from pages.components import conversation_list, engine_badge, frame, home_link, overview
from pages.components.context import _, require, services
from services.permissions import Actor, Permission


def home() -> None:
    user = require()
    frame.draw(user, _("Home"))
    frame.heading(_("Ask what your company knows"))
    st.markdown(_("Answers come from your own documents, with the page to check. Nothing leaves this house."))
    overview.doors(user)
    if user.may(Permission.ASK):
        _asking(user)


def _asking(user: Actor) -> None:
    engine_badge.draw("home")
    overview.index(services().library.statistics(user))
    recent = services().ask.conversations(user, 5)
    if recent:
        st.subheader(_("Recent questions"), anchor=False)
    for conversation in recent:
        conversation_list.link(conversation.id, conversation.title)


st.navigation(
    [
        st.Page(home, title="Home", default=True, url_path=home_link.HOME),
        st.Page("pages/ask_docs.py", title="Ask Docs"),
        st.Page("pages/code_helper.py", title="Code Helper"),
        st.Page("pages/documents.py", title="Documents"),
        st.Page("pages/model_manager.py", title="Model Manager"),
        st.Page("pages/people.py", title="People"),
        st.Page("pages/audit.py", title="Audit"),
        st.Page("pages/account.py", title="My account"),
    ],
    position="hidden",  # the frame of every page draws the links: pages may run without this file
).run()
