"""Pages under AppTest, with fake services, the way server.py runs them: failures go to errors.draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.runtime.scriptrunner import ScriptRunner
from streamlit.testing.v1 import AppTest

from pages.components import context, errors
from services.permissions import Actor
from services.settings import Settings
from tests.fakes import ANNA
from tests.ui.fakes import fake_services
from tests.ui.model_fakes import FakeModelOperations, busy

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("Home.py", *sorted(f"pages/{path.name}" for path in ROOT.glob("pages/[a-z]*.py")))


@pytest.fixture(autouse=True)
def _failures_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest has no st.App to name the handler in."""
    monkeypatch.setattr(ScriptRunner, "__init__", partialmethod(ScriptRunner.__init__, on_script_error=errors.draw))


@pytest.fixture
def services(fresh: Callable[..., Settings]) -> Iterator[SimpleNamespace]:
    built = fake_services(fresh(language="en"))
    yield built
    context.use(None)
    built.audit.close()
    built.database.close()


@pytest.fixture
def models(services: SimpleNamespace) -> FakeModelOperations:
    """In full use: two roles on one engine, a history."""
    services.model_operations = busy()
    return services.model_operations


@pytest.fixture
def opened(services: SimpleNamespace) -> Callable[..., AppTest]:
    """opened(page, actor=…, locale=…, **query): the page as it looks after its first run."""

    def open_page(page: str, *, actor: Actor | None = ANNA, locale: str = "en-US", **query: str) -> AppTest:
        context.use(services, lambda: actor)
        test = AppTest.from_file(str(ROOT / "Home.py"), default_timeout=30)
        test.context["locale"] = locale
        test.query_params.update(query)
        if page != "Home.py":
            test.switch_page(page)  # Streamlit runs such a page without Home.py: the cold deep link
        return test.run()

    return open_page


def text_of(test: AppTest) -> str:
    """All words on the screen, sidebar and dialog included; widgets by their labels."""
    words: list[str] = []
    for element in test._tree:  # AppTest names main and sidebar, but not the dialog
        found = [getattr(element, name, None) for name in ("value", "label", "body")]
        words += [str(one) for one in found if one is not None]
        words.append(str(getattr(getattr(element, "proto", None), "text", "")))
    return "\n".join(words)
