"""My account: one's own password and sessions."""

from pages.components import account, frame
from pages.components.context import _, require

user = require()
frame.draw(user, _("My account"))
frame.heading(_("My account"))
account.about(user)
account.change_password(user)
account.sessions(user)
