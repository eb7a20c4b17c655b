"""The person's conversations: the list in the sidebar, and what can be done with the open one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from unicodedata import east_asian_width

import streamlit as st

from pages.components import dialogs, errors
from pages.components.context import _, language
from pages.components.text import escape
from services.permissions import Actor

if TYPE_CHECKING:
    from services.kept_conversations import KeptConversations

PAGE = "pages/ask_docs.py"
LISTED = 20
TITLE_WIDTH, LINK_WIDTH = 30, 64  # of a title in the sidebar and elsewhere; a Chinese character is 2 wide
DELETING = "delete-conversation"


def draw(kept: KeptConversations, user: Actor, opened: str | None) -> None:
    """In the sidebar: a new conversation, and the recent ones. opened: id of the one on the screen."""
    recent = kept.conversations(user, LISTED)
    with st.sidebar, st.container(gap="xsmall"):
        st.button(_("New conversation"), icon=":material/add_comment:", on_click=_open, args=(None,), width="stretch")
        if recent:
            st.caption(_("Recent conversations"))
        for conversation in recent:
            title = _label(conversation.title, TITLE_WIDTH)
            st.button(
                f"**{title}**" if conversation.id == opened else title,
                type="tertiary",
                key=f"open-{conversation.id}",
                on_click=_open,
                args=(conversation.id,),
            )


def link(conversation_id: str, title: str) -> None:
    """The way to a conversation from another page."""
    st.page_link(
        PAGE, label=_label(title, LINK_WIDTH), icon=":material/chat_bubble:", query_params={"c": conversation_id}
    )


def menu(kept: KeptConversations, conversation_id: str, user: Actor) -> None:
    """Rename, export, delete: for the conversation that is open."""
    with st.popover(
        " ", icon=":material/more_horiz:", type="tertiary", help=_("Conversation"), key="conversation-menu"
    ):
        _rename(kept, conversation_id, user)
        st.download_button(
            _("Export as Markdown"),
            data=lambda: kept.export_markdown(conversation_id, user, language()),
            file_name=f"conversation-{conversation_id[:8]}.md",
            mime="text/markdown",
            icon=":material/download:",
            on_click="ignore",
            width="stretch",
        )
        st.button(
            _("Delete conversation"),
            icon=":material/delete:",
            on_click=dialogs.open_dialog,
            args=(DELETING, conversation_id),
            width="stretch",
        )


def confirm_deletion(kept: KeptConversations, user: Actor, consequence: str) -> None:
    """The question before the deletion, if it was asked for. consequence: what goes and what stays."""
    dialogs.draw(
        DELETING, _("Delete this conversation?"), ":material/delete:", partial(_confirm, kept, user, consequence)
    )


def _open(conversation_id: str | None) -> None:
    """As a callback. The address names the conversation, so a reload and a new tab find it again."""
    if conversation_id is None:
        st.query_params.pop("c", None)
    else:
        st.query_params["c"] = conversation_id


def _label(title: str, width: int) -> str:
    """The title on one line, escaped, cut where it gets wider than that."""
    shown, taken = "", 0
    for character in title:
        taken += 2 if east_asian_width(character) in "WF" else 1
        if taken > width:
            return escape(shown) + "…"
        shown += character
    return escape(shown)


def _rename(kept: KeptConversations, conversation_id: str, user: Actor) -> None:
    with st.form(f"rename-{conversation_id}", border=False, clear_on_submit=True):
        title = st.text_input(_("New name"), max_chars=80)
        if st.form_submit_button(_("Rename"), icon=":material/edit:", width="stretch") and title.strip():
            kept.rename(conversation_id, title, user)
            st.rerun()


def _confirm(kept: KeptConversations, user: Actor, consequence: str, conversation_id: str) -> None:
    st.markdown(consequence)
    with st.container(horizontal=True):
        if st.button(_("Delete"), type="primary", key="delete_conversation"):
            with errors.shown():
                kept.delete(conversation_id, user)
                dialogs.close()
                st.query_params.pop("c", None)
                st.rerun()
        if st.button(_("Cancel"), key="keep_conversation", on_click=dialogs.close):
            st.rerun()
