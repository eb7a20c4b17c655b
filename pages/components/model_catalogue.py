"""The catalogue: what there is, what would fit here, under which licence; filtered, and fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.components import model_entry, model_words
from pages.components.context import _, services
from services.engines.views import ROLES
from services.permissions import Actor
from services.translation import N_

if TYPE_CHECKING:
    from services.model_operations import ModelRow

SIZES = {  # parameters from, below
    "small": (0, 2e9),
    "middle": (2e9, 10e9),
    "large": (10e9, float("inf")),
}
SIZE_NAMES = {"small": N_("< 2 B"), "middle": N_("2–10 B"), "large": N_("> 10 B")}
STATES = {"here": N_("On this machine"), "fits": N_("Fits"), "commercial": N_("Commercial use")}


def draw(user: Actor) -> None:
    """A fragment: a filter draws the list again and nothing else."""
    st.fragment(_catalogue)(user)


def _catalogue(user: Actor) -> None:
    rows = _filtered(services().model_operations.catalogue(user))
    entries: dict[str, list[ModelRow]] = {}
    for row in rows:
        entries.setdefault(row.entry.id, []).append(row)
    if not entries:
        st.info(
            _("No model fits these filters. Take one away, or add a model of your own with the button above."),
            icon=":material/search_off:",
        )
    for variants in entries.values():
        model_entry.draw(variants, user)


def _filtered(rows: list[ModelRow]) -> list[ModelRow]:
    with st.container(horizontal=True, vertical_alignment="bottom", key="model-filters"):
        text = st.text_input(
            _("Find a model"),
            icon=":material/search:",
            placeholder=_("Name, family or id"),
            key="model_text",
            width=220,
        )
        roles = st.pills(_("For"), ROLES, selection_mode="multi", format_func=model_words.role, key="model_roles")
        sizes = st.pills(
            _("Parameters"),
            list(SIZES),
            selection_mode="multi",
            format_func=lambda s: _(SIZE_NAMES[s]),
            key="model_sizes",
        )
        states = st.pills(
            _("Only"),
            list(STATES),
            selection_mode="multi",
            format_func=lambda s: _(STATES[s]),
            key="model_states",
        )
    return [
        row
        for row in rows
        if _named(row, text)
        and (not roles or set(roles) & set(row.entry.roles))
        and (not sizes or any(SIZES[s][0] <= row.entry.parameters < SIZES[s][1] for s in sizes))
        and all(_is(row, state) for state in states)
    ]


def _named(row: ModelRow, text: str) -> bool:
    known = f"{row.entry.name} {row.entry.family} {row.model_id}".casefold()
    return all(word in known for word in text.casefold().split())


def _is(row: ModelRow, state: str) -> bool:
    match state:
        case "here":
            return row.ready
        case "fits":
            return bool(row.estimate and row.estimate.fits)
        case _:
            return row.entry.licence.commercial == "yes"
