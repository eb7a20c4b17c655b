"""Real models for tests: those that `make setup` prepared, and others fetched beside them once."""

from __future__ import annotations

import os
from pathlib import Path

from services.engines.catalogue import Catalogue
from services.engines.models import ModelStore
from services.settings import Settings
from tests.portal_process import ROOT

SMALLEST = "smollm2-135m-instruct"


def prepared_home() -> Path:
    return Path(os.environ.get("PORTAL_HOME", ROOT / "var"))


def fetched(model_id: str) -> Path:
    """The model's files, below the prepared PORTAL_HOME."""
    return ModelStore(Settings(home=prepared_home()), Catalogue.load()).ensure(model_id)
