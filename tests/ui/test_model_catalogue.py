"""Model Manager: the catalogue, what is added to it, history, log, plans and past estimates."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from services.engines.views import Step
from services.errors import BadInput, FetchFailed, VerificationFailed
from tests.ui import model_samples as one
from tests.ui.model_samples import CODER, MIDDLE, SMALL
from tests.ui.model_screen import PAGE, click, shown


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
    names = {model.id for model in models.entries if f"**{model.name}**\n" in shown(test)}
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
    models.fetching = [one.download()]
    assert "5.7 GB of 14.2 GB · 39.1 MB a second · 4 min left · from Hugging Face · by adam" in shown(opened(PAGE))


def test_a_failed_download_says_why_and_can_go_on(opened, models) -> None:
    models.fetching = [one.download(state="failed", error=FetchFailed("The hub is not reachable.", hint="Wait."))]
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
    click(test, "import_now")
    assert models.ordered == [("export_bundle", SMALL), ("import_bundle", "in.zhiku.tar")]


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
    models.serving["chat"] = one.deployment(6, model_name=hostile)
    models.now = one.rollout(Step.DONE, model_name=hostile, started_by=hostile)
    models.fetching = [one.download(name=hostile, source=hostile)]
    test = opened(PAGE)
    assert not test.exception
    drawn = [element.value for element in [*test.markdown, *test.caption, *test.success]]
    assert not [value for value in drawn if hostile in value]


def _submit(test: AppTest, label: str) -> None:
    next(button for button in test.button if button.label == label).click().run()
