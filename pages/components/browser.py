"""What pages ask of the browser beyond drawing."""

from __future__ import annotations

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx


def go_to(path: str) -> None:
    """Open a path of this portal outside the screens, in the same tab: what st.login does, for any path."""
    forward = ForwardMsg()
    forward.auth_redirect.url = path
    if context := get_script_run_ctx():
        context.enqueue(forward)
