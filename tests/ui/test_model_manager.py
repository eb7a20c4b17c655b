"""Model Manager."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.engines.states import EngineState
from services.engines.views import Mode, Step
from services.errors import RolloutInProgress
from tests.fakes import ADMIN, USER
from tests.ui import model_samples as one
from tests.ui.model_samples import MIDDLE, SMALL
from tests.ui.model_screen import PAGE, click, shown

# Guard


def test_who_may_not_run_models_asks_nothing_of_them(opened, services) -> None:
    services.model_operations.roles = lambda _actor: pytest.fail("asked")
    assert "You may not do this" in opened(PAGE, actor=USER).error[0].value


# Cards


def test_an_empty_portal_says_what_to_do(opened) -> None:
    test = opened(PAGE, actor=ADMIN)
    assert [button.label for button in test.button].count("Choose a model") == 3
    words = shown(test)
    assert "No model was chosen for it yet. Fetch one from the catalogue below" in words
    assert "Nothing was ever started" in words
    assert "No switch is planned" in words
    assert "No start was measured yet" in words


def test_a_card_shows_model_figures_and_what_shares_its_engine(opened, models) -> None:
    test = opened(PAGE)
    words = shown(test)
    assert "vLLM · context 4,096 tokens · 8 requests at a time" in words
    assert "The same engine also serves: Code" in words
    assert "3 h 12 min" in words
    assert "2.9 GiB" in words
    assert [metric.label for metric in test.metric[:2]] == ["Tokens per second", "Time to first token"]


def test_requests_in_the_portals_queue_and_the_engines_own_wait_alike(opened, models) -> None:
    models.readings = one.samples(2, waiting=3)
    models.running = 2
    assert "2 running, 3 waiting" in shown(opened(PAGE))


def test_a_loading_model_says_how_long_it_takes(opened, models) -> None:
    models.states["chat"] = EngineState.STARTING
    assert "Loading: 45 s of about 80 s" in shown(opened(PAGE))


def test_a_failed_model_shows_why_what_to_do_and_the_decisive_lines(opened, models) -> None:
    models.states["chat"], models.errors["chat"] = EngineState.FAILED, one.out_of_memory()
    test = opened(PAGE)
    assert "could not be started: out of memory" in shown(test)
    assert "Choose a shorter context" in shown(test)
    assert any("DefaultCPUAllocator" in code.value for code in test.code)


def test_an_unloaded_model_says_that_the_next_question_loads_it(opened, models) -> None:
    models.states["chat"], models.status["chat"] = EngineState.STOPPED, {"unloaded": True}
    assert "The next question loads it again" in shown(opened(PAGE))


def test_stopping_is_asked_about_with_what_it_interrupts(opened, models) -> None:
    models.running = 2
    test = click(opened(PAGE), "stop-chat")
    assert "questions for Chat, Code" in shown(test)
    assert "2 questions are being answered right now" in test.warning[0].value
    assert models.ordered == []
    click(test, "stop_now")
    assert models.ordered == [("stop", "chat")]


def test_a_stopped_model_is_started_again(opened, models) -> None:
    models.states["chat"] = EngineState.STOPPED
    click(opened(PAGE), "start-chat")
    assert models.ordered == [("start", "chat")]


def test_rolling_back_shows_to_what_and_asks(opened, models) -> None:
    test = click(opened(PAGE), "back-chat")
    assert "SmolLM2 135M Instruct" in shown(test)
    assert "What will happen" in shown(test)
    click(test, "back_now")
    assert models.ordered == [("roll_back", "chat", 5)]


# The rollout


def test_a_rollout_is_a_banner_for_every_administrator(opened, models) -> None:
    models.now = one.rollout(Step.STARTING)
    for actor in (ADMIN, replace(ADMIN, id="anna", name="anna")):
        words = shown(opened(PAGE, actor=actor))
        assert "switching to **Qwen2.5 7B Instruct**" in words
        assert "**Starting the new model**" in words
        assert "34 s of about 80 s · 3 questions wait · 1 are being answered · ordered by adam" in words


@pytest.mark.parametrize("step", [step for step in Step if not step.over])
@pytest.mark.parametrize("mode", Mode)
def test_every_step_of_every_way_can_be_drawn(opened, models, step: Step, mode: Mode) -> None:
    models.now = one.rollout(step, mode=mode)
    test = opened(PAGE)
    assert not test.error
    assert "ordered by adam" in shown(test)


def test_a_rollout_can_be_cancelled(opened, models) -> None:
    models.now = one.rollout()
    test = opened(PAGE)
    next(button for button in test.button if button.label == "Cancel the switch").click().run()
    assert models.ordered == [("cancel_rollout",)]
    assert "was cancelled" in shown(test.run())


def test_the_outcome_stays_until_it_is_dismissed_and_then_stays_away(opened, models) -> None:
    models.now = one.rollout(Step.FAILED, error=one.out_of_memory())
    test = opened(PAGE)
    assert "the switch to **Qwen2.5 7B Instruct** failed. The model from before serves as it did" in shown(test)
    assert test.run().error
    click(test, "dismiss-rollout")
    assert not test.run().error
    assert not opened(PAGE).error


def test_while_a_role_is_switched_its_card_has_no_orders(opened, models) -> None:
    models.now = one.rollout()
    models.status["chat"] = {"switching_to": "Qwen2.5 7B Instruct"}
    keys = {button.key for button in opened(PAGE).button}
    assert not keys & {"switch-chat", "stop-chat", "start-chat", "back-chat"}
    assert {"log-chat", "switch-code"} <= keys


# The switch dialog


def test_a_switch_is_ordered_with_the_settings_of_the_dialog(opened, models) -> None:
    test = click(opened(PAGE), "switch-chat")
    test.selectbox(key="switch_model").set_value(SMALL).run()
    context = next(field for field in test.number_input if field.label == "Context, tokens")
    context.set_value(2048).run()
    click(test, "switch_now")
    (method, role, model_id, settings, anyway) = models.ordered[0]
    assert (method, role, model_id, settings.context_tokens, anyway) == ("switch", "chat", SMALL, 2048, False)
    assert "switching to **SmolLM2 135M Instruct**" in shown(test)


def test_what_serves_now_cannot_be_ordered_again(opened, models) -> None:
    test = click(opened(PAGE), "switch-chat")
    assert "This is what serves now" in shown(test)
    assert "switch_now" not in {button.key for button in test.button}


def test_the_dialog_shows_the_estimate_by_parts_and_what_will_happen(opened, models) -> None:
    models.on_disk.add(f"{MIDDLE}:awq")
    words = shown(click(opened(PAGE), f"use-{MIDDLE}:awq"))
    assert "Needs **6.7 GiB** of 9.8 GiB memory that are free" in words
    assert "weights" in words
    assert "corrected × 1.06 by past starts" in words
    assert "Questions wait in a queue for about 82 s; none is lost" in words
    assert "they move along: Code" in words


def test_what_does_not_fit_offers_what_would_and_applies_it_with_one_click(opened, models) -> None:
    models.on_disk.add(MIDDLE)
    test = click(opened(PAGE), f"use-{MIDDLE}")
    assert test.button(key="switch_now").disabled
    click(test, "suggestion-0")
    context = next(field for field in test.number_input if field.label == "Context, tokens")
    assert context.value == 2048


def test_an_estimate_can_be_overruled(opened, models) -> None:
    models.on_disk.add(MIDDLE)
    test = click(opened(PAGE), f"use-{MIDDLE}")
    test.checkbox(key="switch_anyway").check().run()
    click(test, "switch_now")
    assert models.ordered[0][-1] is True


def test_a_second_administrator_is_told_who_is_switching_and_loses_no_input(opened, models) -> None:
    models.refuse["switch"] = RolloutInProgress("{who} is switching {role} at the moment.", who="adam", role="chat")
    test = click(opened(PAGE), f"use-{SMALL}")
    context = next(field for field in test.number_input if field.label == "Context, tokens")
    context.set_value(1024).run()
    click(test, "switch_now")
    assert "adam is switching chat" in test.error[0].value
    assert next(field for field in test.number_input if field.label == "Context, tokens").value == 1024


def test_only_the_settings_that_matter_to_the_engine_are_asked_for(opened, models) -> None:
    cluster = {field.label for field in click(opened(PAGE), "use-cluster").number_input}
    assert not cluster
    small = {field.label for field in click(opened(PAGE), f"use-{SMALL}").number_input}
    assert {"Context, tokens", "KV cache, GiB"} <= small
    assert "GPUs that share the model" not in small


def test_a_gpu_has_settings_of_its_own(opened, models) -> None:
    models.device = "cuda"
    test = click(opened(PAGE), f"use-{SMALL}")
    assert "GPUs that share the model" in {field.label for field in test.number_input}
    assert [slider.label for slider in test.slider] == ["Share of each GPU's memory, %"]


def test_an_adapter_that_is_written_wrongly_is_explained(opened, models) -> None:
    test = click(opened(PAGE), f"use-{SMALL}")
    test.text_area[0].set_value("only a name").run()
    assert "An adapter is written as name = folder" in shown(test)


def test_a_role_without_a_model_here_says_to_fetch_one(opened, models) -> None:
    assert "Fetch one from the catalogue first" in shown(click(opened(PAGE), "switch-vision"))
