"""The record's terms in the person's language. What is not in the tables is shown as it was recorded."""

from __future__ import annotations

from pages.components.context import _
from services.translation import N_

ACTIONS = {
    "sign_in": N_("Sign in"),
    "sign_out": N_("Sign out"),
    "ask": N_("Question"),
    "regenerate": N_("Question, answered again"),
    "code": N_("Code"),
    "image": N_("Image"),
    "feedback": N_("Feedback"),
    "upload": N_("Upload"),
    "delete": N_("Document deleted"),
    "preview": N_("Source looked at"),
    "export": N_("Conversation exported"),
    "document.retry": N_("Document tried again"),
    "conversation.rename": N_("Conversation renamed"),
    "conversation.delete": N_("Conversation deleted"),
    "collection.create": N_("Collection made"),
    "collection.change": N_("Collection changed"),
    "collection.delete": N_("Collection deleted"),
    "collection.members": N_("Members of a collection"),
    "reindex": N_("Index made anew"),
    "engine.start": N_("Model started"),
    "engine.stop": N_("Model stopped"),
    "engine.switch": N_("Model switched"),
    "engine.roll_back": N_("Model rolled back"),
    "engine.cancel": N_("Switch cancelled"),
    "model.fetch": N_("Model fetched"),
    "model.remove": N_("Model files removed"),
    "model.verify": N_("Model verified"),
    "model.add": N_("Model added"),
    "model.forget": N_("Model taken out of the catalogue"),
    "model.export": N_("Model exported"),
    "model.import": N_("Model imported"),
    "model.schedule": N_("Planned switch changed"),
    "settings": N_("Settings"),
    "page": N_("Screen not for this role"),
    "people.create": N_("Account made"),
    "people.invite": N_("Invitation"),
    "people.change": N_("Roles changed"),
    "people.groups": N_("Groups changed"),
    "people.disable": N_("Account disabled"),
    "people.enable": N_("Account enabled"),
    "people.reset": N_("Link for a new password"),
    "people.unlock": N_("Account unlocked"),
    "password.change": N_("Password changed"),
    "session.revoke": N_("Signed out everywhere"),
    "audit.read": N_("Audit read"),
    "audit.verify": N_("Audit verified"),
    "audit.export": N_("Audit exported"),
    "audit.seal": N_("Day sealed"),
    "audit.retention": N_("Old days removed"),
    "audit.replay": N_("Question replayed"),
}
OUTCOMES = {
    "succeeded": N_("Succeeded"),
    "failed": N_("Failed"),
    "denied": N_("Denied"),
    "cancelled": N_("Cancelled"),
}


def action(name: str) -> str:
    return _(ACTIONS[name]) if name in ACTIONS else name


def outcome(name: str) -> str:
    return _(OUTCOMES[name]) if name in OUTCOMES else name
