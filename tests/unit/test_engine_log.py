"""What is read in the logs that transformers serve and llama.cpp left when they could not start."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.engines.engine_log import decisive_lines

LOGS = Path(__file__).resolve().parent.parent / "fixtures" / "engine_logs"


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("llama_cut", "llama_model_load: error loading model: tensor 'token_embd.weight' data is not within the file"),
        ("llama_missing", "llama_model_load: error loading model: llama_model_loader: failed to load model from miss"),
        ("llama_memory", "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv"),
        ("llama_port", "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18811"),
        ("llama_option", "error: invalid argument: --nonsense"),
        ("transformers_broken", "safetensors._safetensors_rust.SafetensorError: Error while deserializing header"),
        ("transformers_port", "ERROR:    [Errno 98] error while attempting to bind on address"),
        ("transformers_option", "Error: No such option '--nonsense'."),
    ],
)
def test_the_cause_is_told_last_and_what_followed_from_it_not_at_all(name: str, last: str) -> None:
    lines = decisive_lines((LOGS / f"{name}.log").read_text())
    assert lines[-1].startswith(last)
    assert not [line for line in lines if "exiting due to" in line]


def test_what_llama_cpp_says_beside_errors_is_not_decisive() -> None:
    assert decisive_lines("0.00.002.601 W srv  llama_server: security\n0.04.268.840 I slot print_timing: id  3\n") == []
