"""A model of one's own: from a hub, from a folder of the server, or served elsewhere."""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages.components import dialogs, errors, model_words
from pages.components.context import _, services
from services.engines.views import ROLES
from services.permissions import Actor
from services.translation import N_

ADD = "model-add"
KINDS = {
    "huggingface": N_("Hugging Face"),
    "modelscope": N_("ModelScope"),
    "folder": N_("Folder"),
    "external": N_("External server"),
}


def button() -> None:
    dialogs.button(_("Add a model"), ADD, None, icon=":material/add:", type="primary", key="add_model")


def draw(user: Actor) -> None:
    dialogs.draw(ADD, _("Add a model"), ":material/add:", partial(_form, user), wide=True)


def _form(user: Actor, _about: object) -> None:
    kind = st.segmented_control(
        _("Where it is"),
        list(KINDS),
        default="huggingface",
        required=True,
        format_func=lambda name: _(KINDS[name]),
        key="add_kind",
    )
    with st.form(f"add-{kind}", border=False):
        ask = {"folder": _folder, "external": _external}.get(kind, partial(_hub, kind))
        add = ask(user)
        roles = st.pills(
            _("For"),
            ROLES,
            selection_mode="multi",
            default=["chat"],
            format_func=model_words.role,
            key=f"add_roles-{kind}",
        )
        sent = st.form_submit_button(_("Add"), type="primary", icon=":material/add:")
    if not sent:
        return
    with errors.shown():
        with st.spinner(_("Looking at it…")):
            model_id = add(roles)
        dialogs.close()
        st.toast(_("In the catalogue: {model}", model=model_id), icon=":material/check:")
        st.rerun()


def _hub(kind: str, user: Actor):
    """Each of these draws its fields and gives what adds the model under the roles."""
    st.caption(_("The list of files is read now; the files are fetched when you say so in the catalogue."))
    repo = st.text_input(_("Repository"), placeholder="Qwen/Qwen2.5-7B-Instruct", key="add_repo")
    revision = st.text_input(_("Revision (empty: the newest)"), key="add_revision")
    return lambda roles: services().model_operations.add_from_hub(kind, repo.strip(), revision.strip(), roles, user)


def _folder(user: Actor):
    st.caption(_("A folder with safetensors or GGUF files on this server. It is copied into the portal's store."))
    path = st.text_input(_("Folder on the server"), placeholder="/srv/models/my-model", key="add_path")
    name = st.text_input(_("Name"), key="add_folder_name", max_chars=100)
    return lambda roles: services().model_operations.add_from_folder(path.strip(), name.strip(), roles, user)


def _external(user: Actor):
    st.caption(_("Any server that speaks the OpenAI API: a vLLM cluster, Ray Serve, another team's engine."))
    name = st.text_input(_("Name"), key="add_external_name", max_chars=100)
    url = st.text_input(_("Address"), placeholder="https://models.example.com/v1", key="add_url")
    model = st.text_input(_("Model, as the server calls it"), key="add_served_name")
    api_key = st.text_input(
        _("API key"),
        type="password",
        autocomplete="off",
        key="add_key",
        help=_("Kept in a file that only the portal can read; it is never shown again."),
    )
    return lambda roles: services().model_operations.add_external(
        name.strip(), url.strip(), user, model=model.strip(), api_key=api_key.strip(), roles=roles
    )
