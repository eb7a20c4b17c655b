"""Ask Docs: answer a question from the documents, with citations that can be opened."""

import streamlit as st

from pages.components import conversation, conversation_list, errors, frame, scope, source_view
from pages.components.context import _, require, services
from services.permissions import Permission

user = require(Permission.ASK)
frame.draw(user, _("Ask Docs"))
conversation_id = st.query_params.get("c")
question = conversation.question()

with frame.heading(_("Ask Docs")):
    collection_ids = scope.choose(user)
    if conversation_id:
        conversation_list.menu(services().ask, conversation_id, user)

conversation_list.draw(services().ask, user, conversation_id)
turns = services().ask.history(conversation_id, user) if conversation_id else []

if conversation.asks_again() and turns:
    conversation.replay(turns[:-1])
    with errors.shown():
        conversation.stream(services().ask.regenerate(conversation_id, user, collection_ids))

conversation.replay(turns)
beginning = st.empty()  # emptied at once when a question is asked
if question:
    with errors.shown():
        answer = services().ask.stream(
            question, actor=user, conversation_id=conversation_id, collection_ids=collection_ids
        )
        conversation.stream(answer)
elif not turns:
    with beginning.container():
        conversation.examples(user)

source_view.draw(user)
conversation_list.confirm_deletion(
    services().ask, user, _("All its questions and answers are deleted. The documents stay.")
)
