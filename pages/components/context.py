"""What every page stands on: the services, the person, the guard, the language."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import streamlit as st

from pages.components import browser
from services.audit.events import Action
from services.errors import SignInRefused
from services.permissions import Actor, Permission
from services.translation import LANGUAGES, Language, translate

if TYPE_CHECKING:
    from services.bootstrap import Services

LANGUAGE = "language"  # the key of session state, and the name of the preference
PERSON = "person"  # whose session state this is


class _Holder:
    """One per process: what server.py (or a test) built. It knows no user."""

    services: Services | None = None
    identify: Callable[[], Actor | None] = staticmethod(lambda: None)


def use(services: Services | None, identify: Callable[[], Actor | None] = lambda: None) -> None:
    """Give the pages of this process their services. identify: who sits at the screen; None is nobody."""
    _Holder.services, _Holder.identify = services, staticmethod(identify)


def services() -> Services:
    if _Holder.services is None:
        raise RuntimeError("The portal's services are not built: pages run under server.py only.")
    return _Holder.services


def current_user() -> Actor | None:
    return _Holder.identify()


def require(permission: Permission | None = None) -> Actor:
    """The guard at the head of every page: the person, if allowed in; otherwise the page ends here.

    permission: None lets in whoever is signed in. Pages can run without Home.py (a deep link on a cold server), so
    the guard cannot live there. Raises Denied, which the shared wrapper draws.
    """
    user = current_user()
    if user is None:
        st.info(_("Please sign in to use the portal."), icon=":material/lock:")
        browser.go_to("/auth/sign-in")
        st.stop()
    if st.session_state.setdefault(PERSON, user.id) != user.id:
        st.session_state.clear()  # the tab lived on while somebody else signed in
        st.session_state[PERSON] = user.id
    if permission is not None:
        services().audit.require(user, permission, Action.PAGE, permission)
    return user


def language() -> Language:
    """The interface's language: what the person chose, else what the browser prefers, else the setting."""
    if LANGUAGE not in st.session_state:
        chosen = _remembered_language()
        st.session_state[LANGUAGE] = chosen or _browser_language() or services().settings.language
    return cast("Language", st.session_state[LANGUAGE])


def _remembered_language() -> str | None:
    """None also for somebody who is being refused, so that the refusal itself can be drawn."""
    try:
        user = current_user()
    except SignInRefused:
        return None
    return services().preferences.get(user, LANGUAGE) if user else None


def choose_language(user: Actor, chosen: Language) -> None:
    """Speak this language from now on, also at the person's next visit."""
    st.session_state[LANGUAGE] = chosen
    services().preferences.set(user, LANGUAGE, chosen)


def _browser_language() -> str | None:
    begins = (st.context.locale or "").split("-")[0].lower()
    return begins if begins in LANGUAGES else None


def _(message: str, **params: object) -> str:
    """The message in the interface's language, its {placeholders} filled."""
    return translate(message, language()).format(**params)
