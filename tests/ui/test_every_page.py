"""What holds for every page."""

from __future__ import annotations

import pytest

from pages.components import frame
from services.engines.states import EngineState
from services.translation import translate
from tests.fakes import ADMIN, AUDITOR, NO_ROLE, USER
from tests.ui.code_fakes import code_question, code_turn
from tests.ui.conftest import PAGES, text_of
from tests.ui.fakes import document, engine_status, failed_engine, turn

TITLES = {
    "Home.py": "Ask what your company knows",
    "pages/ask_docs.py": "Ask Docs",
    "pages/code_helper.py": "Code Helper",
    "pages/documents.py": "Documents",
    "pages/model_manager.py": "Model Manager",
    "pages/people.py": "People",
    "pages/audit.py": "Audit",
    "pages/account.py": "My account",
}
PERMISSIONS = {file: permission for file, _title, _icon, permission in frame.PAGES}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("zh-CN", "zh")])
def test_a_page_speaks_the_browsers_language(opened, page: str, locale: str, language: str) -> None:
    test = opened(page, locale=locale)
    assert test.title[0].value == translate(TITLES[page], language)


@pytest.mark.parametrize("page", PAGES)
def test_an_unknown_language_falls_back_to_the_setting(opened, page: str) -> None:
    assert opened(page, locale="fi-FI").title[0].value == TITLES[page]


@pytest.mark.parametrize("page", PAGES)
def test_the_chosen_language_is_remembered_for_the_person(opened, page: str) -> None:
    test = opened(page)
    test.button_group(key="language_switch").set_value("zh").run()
    assert test.title[0].value == translate(TITLES[page], "zh")
    assert opened(page).title[0].value == translate(TITLES[page], "zh")


@pytest.mark.parametrize("page", PAGES)
def test_a_signed_out_visitor_sees_nothing(opened, services, page: str) -> None:
    services.library.documents = [document(1, title="secret.pdf")]
    services.ask.turns = {"c1": [turn(question="a secret question")]}
    services.code_help.kept = {"c1": [code_turn(question=code_question(words="a secret question"))]}
    test = opened(page, actor=None, c="c1")
    assert not test.title
    assert "secret" not in text_of(test)
    assert "Please sign in" in test.info[0].value


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("actor", [USER, ADMIN, AUDITOR, NO_ROLE], ids=lambda actor: actor.name)
def test_a_page_opens_for_the_roles_that_may_and_shows_others_nothing(opened, services, page: str, actor) -> None:
    services.library.documents = [document(1, title="secret.pdf")]
    test = opened(page, actor=actor)
    if page not in PERMISSIONS or actor.may(PERMISSIONS[page]):
        assert test.title[0].value == TITLES[page]
        assert not test.error
    else:
        assert not test.title
        assert "secret" not in text_of(test)
        assert "You may not do this" in test.error[0].value


@pytest.mark.parametrize("actor", [USER, ADMIN, AUDITOR, NO_ROLE], ids=lambda actor: actor.name)
def test_the_sidebar_leads_only_where_one_may_go(opened, actor) -> None:
    links = [element.proto.label for element in opened("Home.py", actor=actor).sidebar if element.type == "page_link"]
    allowed = [title for _file, title, _icon, permission in frame.PAGES if actor.may(permission)]
    assert links == ["Home", *allowed, "My account"]


@pytest.mark.parametrize("page", PAGES)
def test_a_bug_shows_a_number_and_no_detail(opened, services, page: str, caplog: pytest.LogCaptureFixture) -> None:
    services.deployments.status = lambda _role: 1 / 0
    test = opened(page)
    assert not test.exception
    shown = test.error[0].value
    assert "ZeroDivisionError" not in shown
    assert shown.split()[-1] in caplog.text


@pytest.mark.parametrize("page", PAGES)
def test_the_badge_says_how_long_the_model_takes(opened, services, page: str) -> None:
    services.deployments.now = engine_status("starting")
    assert "Loading model, 45 s of about 80 s" in text_of(opened(page))


def test_the_badge_of_a_failed_model_says_why_and_what_to_do(opened, services) -> None:
    services.deployments.now = failed_engine()
    shown = text_of(opened("Home.py"))
    assert "Not enough memory for the model" in shown
    assert "Choose a smaller model" in shown
    assert "RuntimeError: out of memory" in shown


@pytest.mark.parametrize("state", ["ready", "draining", "stopping", "stopped"])
def test_the_badge_says_what_is_being_switched_to(opened, services, state: str) -> None:
    services.deployments.now = engine_status(EngineState(state), switching_to="Qwen2.5 7B")
    shown = text_of(opened("Home.py", actor=USER)).replace("\\", "")
    assert "Switching to Qwen2.5 7B" in shown
    assert ("Questions wait in a queue" in shown) == (state != "ready")


def test_the_badge_of_a_first_model_says_that_it_loads(opened, services) -> None:
    services.deployments.now = engine_status(EngineState.STARTING, switching_to="Qwen2.5-Coder 0.5B")
    assert "Loading model, 45 s of about 80 s" in text_of(opened("Home.py"))
