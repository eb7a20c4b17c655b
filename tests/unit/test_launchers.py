"""What transformers serve, llama.cpp and servers elsewhere are launched with, and which launcher serves which model."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.engines.hardware import Hardware
from services.engines.launchers.arguments import CheckedLauncher, KnownOptions
from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.engines.launchers.external import ExternalLauncher, Remote
from services.engines.launchers.llama_cpp import LlamaCppLauncher
from services.engines.launchers.masking import MASK, masked
from services.engines.launchers.select import Launchers
from services.engines.launchers.transformers import TransformersLauncher
from services.engines.options import DeploymentSettings, LoraAdapter
from services.errors import EngineUnavailable
from services.settings import Settings

CPU = Hardware(cores=2, avx2=True, avx512=False, avx512_bf16=False, amx_bf16=False, nvidia=False)
GPU = Hardware(cores=8, avx2=True, avx512=False, avx512_bf16=False, amx_bf16=False, nvidia=True)
LORA = (LoraAdapter(name="law", path="/adapters/law"),)


def request(tmp_path: Path, name: str = "tiny", **settings: object) -> LaunchRequest:
    return LaunchRequest("tiny", tmp_path / name, 4711, "secret", tmp_path / "cache", DeploymentSettings(**settings))


def option(plan: LaunchPlan, name: str) -> str:
    return plan.command[plan.command.index(name) + 1]


def transformers_plan(tmp_path: Path, hardware: Hardware = CPU, **settings: object) -> LaunchPlan:
    return TransformersLauncher(hardware, cuda_build=hardware.nvidia).plan(request(tmp_path, **settings))


def test_transformers_serves_the_folder_under_its_own_name_offline_and_with_a_key(tmp_path: Path) -> None:
    made = transformers_plan(tmp_path)
    assert made.served_name == str(tmp_path / "tiny")
    assert made.served_name in made.command
    assert (option(made, "--host"), option(made, "--port")) == ("127.0.0.1", "4711")
    assert made.environment["HF_HUB_OFFLINE"] == "1"
    assert made.environment["ENGINE_API_KEY"] == "secret"
    assert "secret" not in " ".join(made.command)
    assert not [argument for argument in made.command if "trust" in argument]


def test_transformers_computes_in_what_the_hardware_is_fast_at(tmp_path: Path) -> None:
    assert (option(transformers_plan(tmp_path), "--device"), option(transformers_plan(tmp_path), "--dtype")) == (
        "cpu",
        "float32",
    )
    on_gpu = transformers_plan(tmp_path, GPU)
    assert (option(on_gpu, "--device"), option(on_gpu, "--dtype")) == ("cuda:0", "auto")
    assert option(transformers_plan(tmp_path, GPU, tensor_parallel=2), "--device") == "auto"


def test_transformers_makes_weights_nf4_while_loading(tmp_path: Path) -> None:
    assert option(transformers_plan(tmp_path, quantization="bnb-4bit"), "--quantization") == "bnb-4bit"
    assert "--quantization" not in transformers_plan(tmp_path).command


@pytest.mark.parametrize("settings", [{"quantization": "fp8"}, {"lora": LORA}], ids=["fp8", "lora"])
def test_transformers_refuses_what_it_has_not(settings: dict, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        transformers_plan(tmp_path, **settings)


def test_transformers_would_take_an_at_sign_for_a_revision(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        TransformersLauncher(CPU, cuda_build=False).plan(request(tmp_path, "team@home"))


def llama_plan(tmp_path: Path, **settings: object) -> LaunchPlan:
    launcher = LlamaCppLauncher(CPU, program=tmp_path / "llama-server")
    return launcher.plan(request(tmp_path, "tiny.gguf", **settings))


def test_llama_cpp_has_room_for_every_request_at_its_longest(tmp_path: Path) -> None:
    made = llama_plan(tmp_path, context_tokens=2048, max_num_seqs=4)
    assert option(made, "--model") == str(tmp_path / "tiny.gguf")
    assert (option(made, "--ctx-size"), option(made, "--parallel")) == ("8192", "4")
    assert option(made, "--alias") == made.served_name == "tiny"


def test_llama_cpp_takes_its_key_from_the_environment_and_shows_no_pages(tmp_path: Path) -> None:
    made = llama_plan(tmp_path)
    assert made.environment["LLAMA_API_KEY"] == "secret"
    assert {"--metrics", "--no-ui", "--no-slots", "--offline"} <= set(made.command)


def test_llama_cpp_uses_no_more_threads_than_there_are_cores(tmp_path: Path) -> None:
    assert option(llama_plan(tmp_path), "--threads") == "2"
    assert option(llama_plan(tmp_path, threads=1), "--threads") == "1"
    assert option(llama_plan(tmp_path, threads=64), "--threads") == "2"


@pytest.mark.parametrize("settings", [{"quantization": "bnb-8bit"}, {"lora": LORA}], ids=["bnb", "lora"])
def test_llama_cpp_refuses_what_it_has_not(settings: dict, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable):
        llama_plan(tmp_path, **settings)


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("https://models.example.com", "https://models.example.com/v1"),
        ("https://models.example.com/v1/", "https://models.example.com/v1"),
        ("http://10.0.0.7:8000/team/v1", "http://10.0.0.7:8000/team/v1"),
    ],
)
def test_a_server_elsewhere_is_reached_and_not_started(url: str, base_url: str, tmp_path: Path) -> None:
    plan = ExternalLauncher(lambda _id: Remote(url, "org/tiny", "remote-key")).plan(request(tmp_path))
    assert plan == LaunchPlan([], {}, served_name="org/tiny", base_url=base_url, api_key="remote-key")


@pytest.mark.parametrize("url", ["models.example.com", "file:///etc/passwd", "https://me:secret@models.example.com"])
def test_an_address_of_no_server_is_refused_without_repeating_its_secrets(url: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable) as refusal:
        ExternalLauncher(lambda _id: Remote(url, "org/tiny")).plan(request(tmp_path))
    assert "secret" not in str(refusal.value)


@dataclass(frozen=True)
class AVariant:
    format: str
    engines: tuple[str, ...]


class SomeModels:
    """Variants named after their format, and after the one engine that their entry allows, if any."""

    def variant(self, model_id: str) -> AVariant:
        form, _, engine = model_id.partition(" for ")
        return AVariant(form, (engine,) if engine else ("vllm", "transformers", "llama_cpp", "external"))


def launchers(tmp_path: Path) -> Launchers:
    remote = Remote("https://models.example.com", "org/tiny")
    return Launchers(Settings(home=tmp_path), SomeModels(), lambda: CPU, lambda _id: remote)


@pytest.mark.parametrize(
    ("form", "engine"),
    [("safetensors", "vllm"), ("safetensors", "transformers"), ("gguf", "llama_cpp"), ("external", "external")],
)
def test_a_model_is_served_by_the_engine_that_was_chosen(form: str, engine: str, tmp_path: Path) -> None:
    launcher = launchers(tmp_path).for_model(form, DeploymentSettings(engine=engine))
    assert launcher.name == engine
    assert launcher.device == "cpu"


@pytest.mark.parametrize(
    ("form", "engine"), [("gguf", "vllm"), ("safetensors", "llama_cpp"), ("external", "vllm"), ("gguf", "external")]
)
def test_an_engine_that_cannot_read_the_model_is_refused_with_a_way_out(form: str, engine: str, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable) as refusal:
        launchers(tmp_path).for_model(form, DeploymentSettings(engine=engine))
    assert refusal.value.hint


class OneCommand:
    """A launcher of a program whose help the test makes up."""

    name = "vllm"
    device = "cpu"

    def __init__(self, *command: str) -> None:
        self._command = command

    def version(self) -> str:
        return "1.0+cpu"

    def plan(self, _request: LaunchRequest) -> LaunchPlan:
        return LaunchPlan(["program", "-m", "module", *self._command], {"KEY": "secret"})


class Help:
    """Stands for running the program: gives a help text when it is let."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.commands: list[list[str]] = []
        self.given = threading.Event()

    def __call__(self, command: list[str], _environment: dict[str, str]) -> str:
        self.commands.append(command)
        self.given.set()
        return self.text


HELP = "usage: --host HOST --port PORT\n  --model, -m  --max-model-len N  --enforce-eager, --no-enforce-eager"


def learned(tmp_path: Path, help_text: str) -> tuple[KnownOptions, Help]:
    asked = Help(help_text)
    options = KnownOptions(tmp_path, asked)
    options.check(OneCommand("--anything"), OneCommand("--anything").plan(request(tmp_path)))
    assert asked.given.wait(5)
    for thread in threading.enumerate():
        if thread.name == "engine-options":
            thread.join(5)
    return options, asked


def test_the_first_start_of_a_version_waits_for_nobody_and_learns_its_options(tmp_path: Path) -> None:
    options, asked = learned(tmp_path, HELP)
    assert asked.commands == [["program", "-m", "module", "--help"]]
    launcher = CheckedLauncher(OneCommand("--model", "x", "--no-enforce-eager", "--port=1"), options)
    assert launcher.plan(request(tmp_path)).command
    assert len(asked.commands) == 1


def test_an_option_that_the_installed_engine_has_not_is_refused_by_name(tmp_path: Path) -> None:
    options, _ = learned(tmp_path, HELP)
    with pytest.raises(EngineUnavailable, match="--max-model-length"):
        CheckedLauncher(OneCommand("--max-model-length", "5"), options).plan(request(tmp_path))


def test_what_was_learned_is_kept_for_the_next_portal(tmp_path: Path) -> None:
    learned(tmp_path, HELP)
    asked = Help("")
    with pytest.raises(EngineUnavailable):
        CheckedLauncher(OneCommand("--unknown"), KnownOptions(tmp_path, asked)).plan(request(tmp_path))
    assert not asked.commands


def test_a_program_that_has_no_help_refuses_nothing(tmp_path: Path) -> None:
    options, asked = learned(tmp_path, "Traceback (most recent call last)")
    assert CheckedLauncher(OneCommand("--unknown"), options).plan(request(tmp_path))
    assert len(asked.commands) == 1


def test_secrets_are_masked_by_name_and_wherever_they_stand() -> None:
    environment = {"VLLM_API_KEY": "s3cret", "HF_TOKEN": "hf_1", "TOKENIZERS_PARALLELISM": "true", "URL": "x?k=s3cret"}
    command, shown = masked(LaunchPlan(["program", "--key=s3cret"], environment))
    assert command == ["program", f"--key={MASK}"]
    assert shown == {
        "VLLM_API_KEY": MASK,
        "HF_TOKEN": MASK,
        "TOKENIZERS_PARALLELISM": "true",
        "URL": f"x?k={MASK}",
    }
