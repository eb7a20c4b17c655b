"""Documents: add files, see how far they are, take them away."""

import streamlit as st

from pages.components import document_card, document_list, frame, members, upload
from pages.components.context import _, require, services
from services.permissions import Permission

user = require(Permission.READ_DOCUMENTS)
frame.draw(user, _("Documents"))
collections = services().library.collections(user)
editable = services().library.editable_collections(user)
names = {collection.id: collection.name for collection in collections}

with frame.heading(_("Documents")):
    members.button(user)
    if user.may(Permission.EDIT_DOCUMENTS):
        upload.new_collection(user)

if user.may(Permission.EDIT_DOCUMENTS):
    upload.draw(user, editable)

chosen = None
if len(collections) > 1:
    chosen = st.selectbox(
        _("Collection shown"),
        [None, *names],
        format_func=lambda id_: names.get(id_, _("All collections")),
        key="shown",
        icon=":material/folder:",
        label_visibility="collapsed",
    )

document_card.confirm_deletion(user)
members.draw(user)
if collections:
    document_list.draw(user, [chosen] if chosen else None)
