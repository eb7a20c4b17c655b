"""Audit: who did what, for auditors, and the proof that the record is whole."""

from pages.components import audit_charts, audit_event, audit_export, audit_filter, audit_list, audit_verify, frame
from pages.components.context import _, require
from services.permissions import Permission

user = require(Permission.READ_AUDIT)
frame.draw(user, _("Audit"), wide=True)
with frame.heading(_("Audit")):
    audit_verify.button()
    audit_export.button()
chosen = audit_filter.draw(user)
audit_charts.draw(user, chosen)
audit_list.draw(user, chosen)
audit_event.draw(user)
audit_verify.draw(user)
audit_export.draw(user)
