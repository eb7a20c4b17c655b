"""What tests of every kind share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from db.database import Database
from services.audit.trail import open_audit
from services.settings import Settings


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PORTAL_HOME with both databases at their newest schema and nothing in them; to be copied."""
    settings = Settings(home=tmp_path_factory.mktemp("migrated"))
    Database.open(settings.database_path).close()
    open_audit(settings).close()
    return settings.home


@pytest.fixture
def fresh(migrated: Path, tmp_path: Path) -> Callable[..., Settings]:
    """fresh(**settings): settings of a new home whose databases need no migration."""

    def make(**chosen) -> Settings:
        home = tmp_path / "home"
        shutil.copytree(migrated, home)
        return Settings(home=home, **{"disk_reserve_mib": 1, **chosen})

    return make
