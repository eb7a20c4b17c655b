"""Home: what can be done here, how things stand, and the way back to recent questions."""

import streamlit as st

from pages.components import conversation_list, engine_badge, frame, overview
from pages.components.context import _, require, services
from services.permissions import Permission


def home() -> None:
    user = require(Permission.ASK)
    frame.draw(user, _("Home"))
    frame.heading(_("Ask what your company knows"))
    st.markdown(_("Answers come from your own documents, with the page to check. Nothing leaves this house."))
    overview.doors()
    engine_badge.draw("home")
    overview.index(services().library.statistics(user))
    recent = services().ask.conversations(user, 5)
    if recent:
        st.subheader(_("Recent questions"), anchor=False)
    for conversation in recent:
        conversation_list.link(conversation.id, conversation.title)


st.navigation(
    [
        st.Page(home, title="Home", default=True, url_path=frame.HOME),
        st.Page("pages/ask_docs.py", title="Ask Docs"),
        st.Page("pages/documents.py", title="Documents"),
    ],
    position="hidden",  # the frame of every page draws the links: pages may run without this file
).run()
