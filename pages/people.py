"""People: accounts, roles and groups, for administrators."""

import streamlit as st

from pages.components import frame, people_groups, people_invite, people_list
from pages.components.context import _, require
from services.permissions import Permission

user = require(Permission.MANAGE_PEOPLE)
frame.draw(user, _("People"))
with frame.heading(_("People")):
    people_invite.button()
people_invite.draw(user)
accounts, groups = st.tabs([_("Accounts"), _("Groups")])
with accounts:
    people_list.draw(user)
with groups:
    people_groups.draw(user)
