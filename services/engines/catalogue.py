"""The catalogue of models: catalogue.toml beside this module, and what administrators added.

A model id is `<entry id>` (its default variant) or `<entry id>:<variant id>`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from services.engines.entries import CatalogueEntry, Data, Licence, Variant
from services.errors import ModelFilesError, NotFound
from services.translation import N_

CATALOGUE_FILE = Path(__file__).with_name("catalogue.toml")

Kind = TypeVar("Kind", bound=Data)


class Hubs(Data):
    """Base URLs of hubs whose client library does not know its own address."""

    modelscope: str


class Catalogue:
    """All models by id: those of the file in its order, then those that were added."""

    def __init__(self, entries: list[CatalogueEntry], hubs: Hubs) -> None:
        self._entries = {entry.id: entry for entry in entries}
        self.hubs = hubs

    @classmethod
    def load(cls, path: Path = CATALOGUE_FILE) -> Catalogue:
        """Raises ModelFilesError naming the table and the mistake when the file is malformed."""
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise _malformed(path, str(error)) from error
        if set(data) != {"hubs", "licences", "models"}:
            raise _malformed(path, f"its tables are {sorted(data)}, not hubs, licences and models")
        hubs = _validated(Hubs, data["hubs"], path, "hubs")
        licences = {key: _validated(Licence, value, path, key) for key, value in data["licences"].items()}
        return cls([_entry(key, model, licences, path) for key, model in data["models"].items()], hubs)

    def get(self, model_id: str) -> CatalogueEntry:
        """Raises NotFound, listing the ids there are; also for a variant that the entry does not have."""
        entry_id, _, variant_id = model_id.partition(":")
        entry = self._entries.get(entry_id)
        if entry is None:
            raise _unknown(model_id, self._entries)
        if variant_id and variant_id not in [variant.id for variant in entry.variants]:
            raise _unknown(model_id, self.ids_of(entry))
        return entry

    def variant(self, model_id: str) -> Variant:
        """The one named, or the entry's first. Raises NotFound."""
        entry, variant_id = self.get(model_id), model_id.partition(":")[2]
        return next(variant for variant in entry.variants if variant_id in ("", variant.id))

    def ids_of(self, entry: CatalogueEntry) -> list[str]:
        """The model ids of an entry's variants, the default first."""
        return [entry.id, *(f"{entry.id}:{variant.id}" for variant in entry.variants[1:])]

    def ids(self) -> list[str]:
        """All model ids: every variant of every entry."""
        return [model_id for entry in self.entries for model_id in self.ids_of(entry)]

    @property
    def entries(self) -> tuple[CatalogueEntry, ...]:
        return tuple(self._entries.values())

    def set_custom(self, entries: list[CatalogueEntry]) -> None:
        """Replace all that were added. An entry of the file is never covered by one of the same id."""
        shipped = {key: entry for key, entry in self._entries.items() if not entry.custom}
        self._entries = shipped | {entry.id: entry for entry in entries if entry.id not in shipped}


def folder_name(catalogue: Catalogue, model_id: str) -> str:
    """Of the model's files: the entry's id, with the variant's unless it is the default. Raises NotFound."""
    entry, variant = catalogue.get(model_id), catalogue.variant(model_id)
    return entry.id if variant == entry.variants[0] else f"{entry.id}__{variant.id}"


def _entry(key: str, model: dict, licences: dict[str, Licence], path: Path) -> CatalogueEntry:
    if model.get("licence") not in licences:
        raise _malformed(path, f"{key}: licence: {model.get('licence')!r} is not in the table licences")
    return _validated(CatalogueEntry, {"id": key, **model, "licence": licences[model["licence"]]}, path, key)


def _validated(kind: type[Kind], data: dict, path: Path, table: str) -> Kind:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _malformed(path, f"{table}: {field}: {first['msg']}") from error


def _unknown(model_id: str, known: Iterable[str]) -> NotFound:
    return NotFound(
        N_("There is no model {id} in the catalogue."),
        hint=N_("The catalogue has: {known}"),
        id=model_id,
        known=", ".join(known),
    )


def _malformed(path: Path, detail: str) -> ModelFilesError:
    return ModelFilesError(
        N_("The model catalogue {file} cannot be read: {detail}"),
        hint=N_("Correct the file, or restore the one that came with this version."),
        file=path.name,
        detail=detail,
    )
