"""Which files of a model are let in, told from names alone."""

from __future__ import annotations

import pytest

from services.engines.sources import safety
from services.errors import UnsafeModel, VerificationFailed


def taken(*names: str, form: str = "safetensors", pick: str = "") -> list[str]:
    return safety.wanted(dict.fromkeys(names, 10), form, pick, "owner/model")


def test_the_portals_own_manifest_is_never_taken_from_a_stranger() -> None:
    assert "manifest.json" not in taken("config.json", "manifest.json", "model.safetensors")


def test_shards_go_before_a_second_copy_of_the_weights() -> None:
    names = ("config.json", "model-00001-of-00001.safetensors", "model.safetensors", "consolidated.safetensors")
    assert taken(*names) == ["config.json", "model-00001-of-00001.safetensors"]


def test_a_missing_shard_is_told() -> None:
    with pytest.raises(VerificationFailed, match="1 of 3"):
        taken("config.json", "model-00002-of-00003.safetensors")


def test_a_lone_consolidated_file_is_taken() -> None:
    assert "consolidated.safetensors" in taken("config.json", "consolidated.safetensors")


def test_the_image_part_of_a_gguf_is_not_the_model() -> None:
    assert taken("mmproj-f16.gguf", "tiny-f16.gguf", form="gguf", pick="*f16*.gguf") == ["tiny-f16.gguf"]


def test_quantizations_are_read_off_the_names() -> None:
    names = ("a-Q4_K_M.gguf", "a.Q8_0.gguf", "a-q5_k_m-00001-of-00002.gguf", "a-IQ4_XS.gguf", "a-f16.gguf", "b.gguf")
    assert list(safety.gguf_kinds(names)) == ["q4_k_m", "q8_0", "q5_k_m", "iq4_xs", "f16"]


@pytest.mark.parametrize("path", ["..", "a/..", "./a", "a//b", "/a", "a\\b", "C:a", "a\x00b", "a\u202eb", ""])
def test_a_path_that_tricks_is_refused(path: str) -> None:
    with pytest.raises(UnsafeModel):
        safety.refuse_tricks([path])
