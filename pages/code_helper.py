"""Code Helper: from a requirement to code that was run, and from code to an explanation, a better version, tests."""

import streamlit as st

from pages.components import code_conversation, code_question, conversation, conversation_list, errors, frame
from pages.components.context import _, language, require, services
from services.permissions import Permission

user = require(Permission.ASK)
frame.draw(user, _("Code Helper"))
conversation_id = st.query_params.get("c")
code_help = services().code_help

with frame.heading(_("Code Helper")):
    if conversation_id:
        conversation_list.menu(code_help, conversation_id, user)

conversation_list.draw(code_help, user, conversation_id)
turns = code_help.turns(conversation_id, user) if conversation_id else []
again = conversation.asks_again() and bool(turns)
history = st.container()
question = code_question.draw(user, conversation_id, turns)

with history, errors.shown():
    code_conversation.replay(turns[:-1] if again else turns, conversation_id, user)
    if again:
        code_conversation.stream(code_help.regenerate(conversation_id, user, language()))
    elif question:
        answer = code_help.stream(question, actor=user, conversation_id=conversation_id, language=language())
        code_question.clear()
        code_conversation.stream(answer)

conversation_list.confirm_deletion(code_help, user, _("All its questions, code and answers are deleted."))
