"""The Model Manager's screen under AppTest: what stands there, and clicking on it."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from tests.ui.conftest import text_of

PAGE = "pages/model_manager.py"


def shown(test: AppTest) -> str:
    """What stands on the screen, without the escapes of Markdown."""
    return text_of(test).replace("\\", "")


def click(test: AppTest, key: str) -> AppTest:
    return test.button(key=key).click().run()
