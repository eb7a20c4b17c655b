"""Model Manager."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from services.engines.states import EngineState
from services.engines.views import Mode, Step
from services.errors import BadInput, FetchFailed, RolloutInProgress, VerificationFailed
from tests.fakes import ADMIN, USER
from tests.ui import model_fakes as fakes
from tests.ui.conftest import text_of
from tests.ui.model_fakes import CODER, MIDDLE, SMALL

PAGE = "pages/model_manager.py"


@pytest.fixture
def models(services) -> fakes.FakeModelOperations:
    services.model_operations = fakes.busy()
    return services.model_operations


def shown(test: AppTest) -> str:
    """What stands on the screen, without the escapes of Markdown."""
    return text_of(test).replace("\\", "")


def click(test: AppTest, key: str) -> AppTest:
    return test.button(key=key).click().run()


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
    models.readings = fakes.samples(2, waiting=3)
    models.running = 2
    assert "2 running, 3 waiting" in shown(opened(PAGE))


def test_a_loading_model_says_how_long_it_takes(opened, models) -> None:
    models.states["chat"] = EngineState.STARTING
    assert "Loading: 45 s of about 80 s" in shown(opened(PAGE))


def test_a_failed_model_shows_why_what_to_do_and_the_decisive_lines(opened, models) -> None:
    models.states["chat"], models.errors["chat"] = EngineState.FAILED, fakes.out_of_memory()
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
    models.now = fakes.rollout(Step.STARTING)
    for actor in (ADMIN, replace(ADMIN, id="anna", name="anna")):
        words = shown(opened(PAGE, actor=actor))
        assert "switching to **Qwen2.5 7B Instruct**" in words
        assert "**Starting the new model**" in words
        assert "34 s of about 80 s · 3 questions wait · 1 are being answered · ordered by adam" in words


@pytest.mark.parametrize("step", [step for step in Step if not step.over])
@pytest.mark.parametrize("mode", Mode)
def test_every_step_of_every_way_can_be_drawn(opened, models, step: Step, mode: Mode) -> None:
    models.now = fakes.rollout(step, mode=mode)
    test = opened(PAGE)
    assert not test.error
    assert "ordered by adam" in shown(test)


def test_a_rollout_can_be_cancelled(opened, models) -> None:
    models.now = fakes.rollout()
    test = opened(PAGE)
    next(button for button in test.button if button.label == "Cancel the switch").click().run()
    assert models.ordered == [("cancel_rollout",)]
    assert "was cancelled" in shown(test.run())


def test_the_outcome_stays_until_it_is_dismissed_and_then_stays_away(opened, models) -> None:
    models.now = fakes.rollout(Step.FAILED, error=fakes.out_of_memory())
    test = opened(PAGE)
    assert "the switch to **Qwen2.5 7B Instruct** failed. The model from before serves as it did" in shown(test)
    assert test.run().error
    click(test, "dismiss-rollout")
    assert not test.run().error
    assert not opened(PAGE).error


def test_while_a_role_is_switched_its_card_has_no_orders(opened, models) -> None:
    models.now = fakes.rollout()
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


# The catalogue


def test_the_catalogue_says_fit_licence_and_hardware_in_words(opened, models) -> None:
    test = opened(PAGE)
    test.session_state[f"variants-{MIDDLE}"] = True
    words = shown(test.run())
    assert "fits with 3.1 GiB to spare" in words
    assert "6.4 GiB short" in words
    assert "Licence Llama-3: Business use allowed below 700 million users" in words
    assert "GPU: RTX 3090 24 GB, A10 · CPU: Intel Core i7-12700, with 32 GB of memory" in words
    assert "Outside this building" in words
    assert "Serves Chat, Code" in words


@pytest.mark.parametrize(
    ("key", "value", "left"),
    [
        ("model_roles", ["vision"], {"llava-1.5-7b"}),
        ("model_sizes", ["small"], {CODER, SMALL, "cluster"}),
        ("model_states", ["here"], {CODER, SMALL, "cluster"}),
        ("model_states", ["fits"], {CODER, SMALL, MIDDLE, "llava-1.5-7b"}),
        ("model_states", ["commercial"], {CODER, SMALL, MIDDLE}),
    ],
)
def test_the_catalogue_is_filtered(opened, models, key: str, value: list[str], left: set[str]) -> None:
    test = opened(PAGE)
    test.button_group(key=key).set_value(value).run()
    names = {one.id for one in models.entries if f"**{one.name}**\n" in shown(test)}
    serving = {CODER}  # on its card
    assert names | serving == left | serving


def test_other_variants_are_drawn_when_they_are_asked_for(opened, models) -> None:
    test = opened(PAGE)
    assert "8-bit GPTQ" not in shown(test)
    test.session_state[f"variants-{MIDDLE}"] = True
    assert "8-bit GPTQ" in shown(test.run())


def test_a_search_without_a_hit_says_what_to_do(opened, models) -> None:
    test = opened(PAGE)
    test.text_input(key="model_text").set_value("gpt-5").run()
    assert "No model fits these filters" in shown(test)


def test_a_model_is_fetched_paused_and_taken_up_again(opened, models) -> None:
    test = click(opened(PAGE), f"fetch-{MIDDLE}:awq")
    assert "Being fetched" in shown(test)
    click(test, f"pause-{MIDDLE}:awq")
    test.run()
    assert "Paused" in shown(test)
    click(test, f"resume-{MIDDLE}:awq")
    test.run()
    click(test, f"cancel-{MIDDLE}:awq")
    assert [method for method, *_rest in models.ordered] == ["fetch", "pause", "resume", "cancel_fetch"]


def test_a_download_shows_progress_rate_and_time_left(opened, models) -> None:
    models.fetching = [fakes.download()]
    assert "5.7 GB of 14.2 GB · 39.1 MB a second · 4 min left · from Hugging Face · by adam" in shown(opened(PAGE))


def test_a_failed_download_says_why_and_can_go_on(opened, models) -> None:
    models.fetching = [fakes.download(state="failed", error=FetchFailed("The hub is not reachable.", hint="Wait."))]
    test = opened(PAGE)
    assert "The hub is not reachable" in shown(test)
    click(test, f"resume-{MIDDLE}")
    assert models.ordered == [("resume", MIDDLE)]


def test_a_refused_fetch_is_explained(opened, models) -> None:
    models.refuse["fetch"] = FetchFailed("There is no room on the disk.")
    assert "no room on the disk" in click(opened(PAGE), f"fetch-{MIDDLE}:awq").error[0].value


def test_verifying_says_that_every_byte_is_right_or_which_file_is_not(opened, models) -> None:
    test = click(click(opened(PAGE), f"model-verify-{SMALL}"), "verify_now")
    assert "Every byte is as it should be" in test.success[0].value
    models.refuse["verify"] = VerificationFailed("The file {file} was changed.", file="model.safetensors")
    click(test, "verify_now")
    assert "model.safetensors" in shown(test)


def test_files_are_removed_after_the_question(opened, models) -> None:
    test = click(opened(PAGE), f"model-remove-{SMALL}")
    assert "Frees about 256.5 MB" in shown(test)
    click(test, "files_yes")
    assert models.ordered == [("remove", SMALL)]


def test_an_entry_of_ones_own_is_taken_out_after_the_question(opened, models) -> None:
    click(click(opened(PAGE), "forget-cluster"), "files_yes")
    assert models.ordered == [("forget", "cluster")]


def test_a_bundle_is_written_and_read(opened, models) -> None:
    test = click(click(opened(PAGE), f"model-export-{SMALL}"), "export_now")
    assert f"/bundles/{SMALL}.zhiku.tar" in shown(test)
    test = click(opened(PAGE), "import_bundle")
    test.text_input(key="import_path").set_value("/srv/in.zip").run()
    click(test, "import_now")
    assert models.ordered == [("export_bundle", SMALL), ("import_bundle", "/srv/in.zip")]


# Adding


def test_a_hub_model_is_added(opened, models) -> None:
    test = click(opened(PAGE), "add_model")
    test.text_input(key="add_repo").set_value(" Qwen/Qwen3-4B ")
    _submit(test, "Add")
    assert models.ordered == [("add_from_hub", "huggingface", "Qwen/Qwen3-4B", "", ("chat",))]


def test_a_folder_is_added(opened, models) -> None:
    test = click(opened(PAGE), "add_model")
    test.button_group(key="add_kind").set_value("folder").run()
    test.text_input(key="add_path").set_value("/srv/m")
    test.text_input(key="add_folder_name").set_value("Mine")
    _submit(test, "Add")
    assert models.ordered == [("add_from_folder", "/srv/m", "Mine", ("chat",))]


def test_a_server_elsewhere_is_added_and_its_key_is_never_in_clear(opened, models) -> None:
    test = click(opened(PAGE), "add_model")
    test.button_group(key="add_kind").set_value("external").run()
    assert test.text_input(key="add_key").proto.type == test.text_input(key="add_key").proto.PASSWORD
    for key, value in {"add_external_name": "Far", "add_url": "http://far/v1", "add_served_name": "m"}.items():
        test.text_input(key=key).set_value(value)
    test.text_input(key="add_key").set_value("sk-secret")
    _submit(test, "Add")
    assert models.ordered == [("add_external", "Far", "http://far/v1", "m", "sk-secret", ("chat",))]


def test_what_cannot_be_added_is_explained_and_the_form_stays(opened, models) -> None:
    models.refuse["add_from_hub"] = BadInput("There is no such repository.")
    test = click(opened(PAGE), "add_model")
    test.text_input(key="add_repo").set_value("no/such")
    _submit(test, "Add")
    assert "There is no such repository" in test.error[0].value
    assert test.text_input(key="add_repo").value == "no/such"


# History, log, plans, accuracy


def test_the_history_says_who_what_how_long_and_how_it_ended(opened, models) -> None:
    table = opened(PAGE).dataframe[0].value
    assert list(table["Outcome"]) == ["Serving", "Replaced", "Failed, rolled back"]
    assert table["Person"][0] == "adam"
    assert table["Loaded in"][0] == "82 s"
    assert table["Memory"][0] == "3.0 GiB → 2.9 GiB"


def test_a_deployment_shows_command_version_and_memory_and_the_way_back(opened, models) -> None:
    test = opened(PAGE)
    test.session_state["open_dialog"] = ("deployment", 5)
    test.run()
    assert "3.0 GiB → 2.9 GiB (+5%)" in shown(test)
    assert "0.32.0" in shown(test)
    assert any("--max-model-len 4096" in code.value for code in test.code)
    assert any("VLLM_API_KEY=***" in code.value for code in test.code)
    click(click(test, "back-to-5-chat"), "back_now")
    assert models.ordered == [("roll_back", "chat", 5)]


def test_a_failed_deployment_cannot_be_gone_back_to(opened, models) -> None:
    test = opened(PAGE)
    test.session_state["open_dialog"] = ("deployment", 4)
    test.run()
    assert "out of memory" in shown(test)
    assert "back-to-4-chat" not in {button.key for button in test.button}


def test_the_log_is_searched(opened, models) -> None:
    test = click(opened(PAGE), "log-chat")
    assert test.code[-1].value == "INFO loading\nERROR out of memory\nINFO bye"
    test.text_input(key="log-query-6").set_value("error").run()
    assert test.code[-1].value == "ERROR out of memory"
    test.text_input(key="log-query-6").set_value("nothing like it").run()
    assert "No line has these words" in shown(test)


def test_a_switch_is_planned_and_taken_back(opened, models) -> None:
    test = opened(PAGE)
    assert "**22:30** · Mon, Tue, Wed, Thu, Fri" in shown(test)
    _submit(test, "Plan it")
    assert models.ordered == [("add_schedule", "chat", CODER, "22:00", (0, 1, 2, 3, 4))]
    click(test, "unplan-1")
    assert models.ordered[-1] == ("remove_schedule", 1)


def test_past_predictions_stand_beside_what_was_measured(opened, models) -> None:
    test = opened(PAGE)
    assert "**3 of 3** were within 15%" in shown(test)
    assert list(test.dataframe[1].value["Off by"]) == ["+5%", "+14%", "+22%"]
    assert list(test.dataframe[1].value["After correction"]) == ["+3%", "+7%", "+11%"]


@pytest.mark.parametrize("hostile", ["![x](http://evil/x.png)", "<img src=x>", ":material/delete:", "$$x$$"])
def test_what_strangers_wrote_is_never_markup(opened, models, hostile: str) -> None:
    models.entries[0].name = hostile
    models.serving["chat"] = fakes.deployment(6, model_name=hostile)
    models.now = fakes.rollout(Step.DONE, model_name=hostile, started_by=hostile)
    models.fetching = [fakes.download(name=hostile, source=hostile)]
    test = opened(PAGE)
    assert not test.exception
    drawn = [element.value for element in [*test.markdown, *test.caption, *test.success]]
    assert not [value for value in drawn if hostile in value]


def _submit(test: AppTest, label: str) -> None:
    next(button for button in test.button if button.label == label).click().run()
