"""The real portal, with the fake engine in place of vLLM: `python -m tests.browser.portal_with_fake_engine`.

Options of the fake engine (see tests/fake_engine.py) follow on the command line.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import server
from services import bootstrap
from services.engines.deployments import Deployments
from services.settings import Settings
from tests.fakes import FakeLauncher, FakeModels


def main(*options: str) -> None:
    settings = Settings()
    _write_tokenizer(settings.models_dir / settings.chat_model)
    launcher = FakeLauncher(*options)
    bootstrap.Launchers = lambda *_: SimpleNamespace(for_model=lambda _model_id, _settings: launcher)
    server.serve(settings)


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
