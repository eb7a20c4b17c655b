"""The real portal, with the fake engine in place of vLLM: `python -m tests.browser.portal_with_fake_engine`.

Two small models of the catalogue are on its disk, with next to nothing in them. Options of the fake engine (see
tests/fake_engine.py) follow on the command line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from safetensors.numpy import save_file

import server
from services import bootstrap
from services.engines import manifest
from services.engines.catalogue import Catalogue
from services.engines.sources.files import sha256_of
from services.settings import Settings
from tests.fakes import FakeLauncher

MODELS = ("qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct")


def main(*options: str) -> None:
    settings = Settings()
    for model_id in MODELS:
        _write_model(model_id, settings.models_dir / model_id)
    launcher = FakeLauncher(*options)
    bootstrap.Launchers = lambda *_: SimpleNamespace(for_model=lambda _model_id, _settings: launcher)
    server.serve(settings)


def _write_model(model_id: str, folder: Path) -> None:
    _write_tokenizer(folder)
    shape = {"num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "hidden_size": 896}
    shape |= {"intermediate_size": 4864, "vocab_size": 1000, "torch_dtype": "bfloat16", "model_type": "qwen2"}
    (folder / "config.json").write_text(json.dumps(shape))
    save_file({"embed.weight": np.zeros((1000, 896), np.float16)}, folder / "model.safetensors")
    pinned = Catalogue.load().variant(model_id).pinned
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in folder.iterdir()}
    manifest.write(folder, {"id": model_id, "source": pinned.name, "source_sha256": pinned.sha256}, files)


def _write_tokenizer(folder: Path) -> None:
    """One token for each run of letters: enough to count with."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main(*sys.argv[1:])
