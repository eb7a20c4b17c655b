"""What a switch would do, before it is ordered: the memory it takes, and in words what will happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from pages.components import errors, model_words
from pages.components.context import _
from pages.components.formats import gib, span
from pages.components.text import escape
from services.engines.views import Mode
from services.errors import DoesNotFit

if TYPE_CHECKING:
    from services.engines.memory import Estimate, Suggestion
    from services.engines.views import RolloutPlan


def draw(plan: RolloutPlan, apply: Callable[[Suggestion], None] | None = None) -> None:
    """apply: takes a suggestion's settings over; without it none are offered."""
    if plan.estimate:
        with st.container(border=True, gap="xsmall", key="estimate"):
            estimate(plan.estimate)
    elif plan.mode is not Mode.SHARED:
        st.caption(_("Takes no memory of this machine, or how much cannot be told before it is fetched."))
    if plan.refusal is not None:
        st.error(errors.in_words(plan.refusal), icon=":material/block:")
    if plan.estimate and apply:
        _suggestions(plan.estimate.suggestions, apply)
    if plan.alternatives:
        st.caption(_("Variants of this model that fit: {variants}", variants=_(", ").join(_variants(plan))))
    if plan.refusal is None or isinstance(plan.refusal, DoesNotFit):
        st.markdown("**" + _("What will happen") + "**")
        st.markdown("\n".join(f"- {line}" for line in _what_happens(plan)))


def estimate(one: Estimate) -> None:
    """One figure, one bar, and the parts it is made of."""
    where = _("GPU memory") if one.device == "cuda" else _("memory")
    colour, icon = ("green", ":material/check_circle:") if one.fits else ("red", ":material/error:")
    numbers = {"needed": gib(one.needed_mib), "available": gib(one.available_mib), "where": where}
    st.markdown(
        f":{colour}[{icon}] "
        + _("Needs **{needed}** of {available} {where} that are free", **numbers)
        + f" · :{colour}[{model_words.fit(one)}]"
    )
    st.progress(min(one.needed_mib / one.available_mib, 1.0) if one.available_mib > 0 else 1.0)
    parts = [f"{_(model_words.PARTS.get(part, part))} {gib(mib)}" for part, mib in one.parts_mib.items() if mib >= 1]
    if abs(one.correction - 1) >= 0.005:
        parts.append(_("corrected × {n} by past starts", n=f"{one.correction:.2f}"))
    st.caption(" · ".join(parts))


def _suggestions(suggestions: tuple[Suggestion, ...], apply: Callable[[Suggestion], None]) -> None:
    if not suggestions:
        return
    st.caption(_("What would fit. One click sets it:"))
    with st.container(horizontal=True, gap="xsmall"):
        for number, one in enumerate(suggestions):
            words = _(one.message, **one.params) + " · " + gib(one.needed_mib)
            st.button(
                escape(words),
                icon=":material/auto_fix_high:",
                on_click=apply,
                args=(one,),
                key=f"suggestion-{number}",
            )


def _variants(plan: RolloutPlan) -> list[str]:
    names = [(one, f"{escape(one.model_id)} ({gib(one.needed_mib)})") for one in plan.alternatives]
    return [name if one.ready else _("{name}, to be fetched first", name=name) for one, name in names]


def _what_happens(plan: RolloutPlan) -> list[str]:
    old, new = _names(plan)
    typical = span(plan.typical_start_s)
    match plan.mode:
        case Mode.SHARED:
            return [_("{new} runs already. {role} will use it at once.", new=new, role=model_words.role(plan.role))]
        case Mode.FIRST:
            return [_("Nothing is running for {role}.", role=model_words.role(plan.role)), _ready_in(new, typical)]
        case Mode.BESIDE:
            lines = [
                _("Nobody waits: while {new} starts, {old} goes on answering.", new=new, old=old),
                _ready_in(new, typical),
                _("{old} goes on for {roles}.", old=old, roles=model_words.roles(plan.old_stays_for))
                if plan.old_stays_for
                else _("Only then does {old} finish its answers and stop.", old=old),
            ]
        case Mode.IN_PLACE:
            lines = [
                _("There is no room for both: {old} finishes its answers and stops first.", old=old),
                _("Questions wait in a queue for about {n}; none is lost.", n=span(plan.unserved_s)),
            ]
            if along := [role for role in plan.roles if role != plan.role]:
                lines.append(
                    _("Served by the same engine, so they move along: {roles}", roles=model_words.roles(along))
                )
    return [*lines, _("Should {new} fail, {old} serves again by itself.", new=new, old=old)]


def _names(plan: RolloutPlan) -> tuple[str, str]:
    """Of the old and the new one; the same model with other settings has no name to tell it by."""
    if plan.replaces == plan.model_name:
        return _("the engine that runs now"), _("the new engine")
    return f"**{escape(plan.replaces)}**", f"**{escape(plan.model_name)}**"


def _ready_in(new: str, typical: str) -> str:
    return _("In about {n}, and after a test question, {new} is ready.", new=new, n=typical)
