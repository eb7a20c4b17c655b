"""Documents: add files, see how far they are, take them away."""

import streamlit as st

from pages.components import document_card, document_list, frame, upload
from pages.components.context import _, require, services
from services.permissions import Permission

user = require(Permission.READ_DOCUMENTS)
frame.draw(user, _("Documents"))
collections = services().library.collections(user)
names = {collection.id: collection.name for collection in collections}

with frame.heading(_("Documents")):
    if user.may(Permission.EDIT_DOCUMENTS):
        upload.new_collection(user)

if not collections:
    st.info(_("Create a collection first: documents are kept in collections."), icon=":material/create_new_folder:")
elif user.may(Permission.EDIT_DOCUMENTS):
    upload.draw(user, collections)

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
if collections:
    document_list.draw(user, [chosen] if chosen else None)
