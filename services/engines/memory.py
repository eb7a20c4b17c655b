"""How much memory a model will take, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.engines.options import DeploymentSettings


@dataclass(frozen=True)
class ModelShape:
    """What of a model decides its memory: counts of its architecture, and its weights as they are stored.

    weight_bytes: all weights as stored (after conversion, where there is one); vision_parameters: of the image encoder
    and projector, included in parameters. embedding_parameters: of embedding and output layer, included too; 0: not
    known. attention_layers: layers with a KV cache; 0: all. quantized: stored in fewer than 16 bits, and served so.
    """

    parameters: int
    weight_bytes: int
    stored_bits: float  # bits per weight as stored, on average: 16, 8.5, 4.8 …
    layers: int
    kv_heads: int
    head_dim: int
    hidden_size: int
    intermediate_size: int
    vocab_size: int
    attention_heads: int
    vision_parameters: int = 0
    image_tokens: int = 0
    vision_hidden_size: int = 0
    embedding_parameters: int = 0
    attention_layers: int = 0
    quantized: bool = False

    @property
    def kv_numbers_per_token(self) -> int:
        """Keys and values of all layers: numbers for one token."""
        return 2 * (self.attention_layers or self.layers) * self.kv_heads * self.head_dim


@dataclass(frozen=True)
class Suggestion:
    """The nearest setting that fits. message: a msgid, params fill it; settings: to be ordered with one click."""

    message: str
    params: dict
    settings: DeploymentSettings
    needed_mib: float


@dataclass(frozen=True)
class Estimate:
    """parts_mib: by what it is for (weights, kv_cache, activations, vision, overhead); of one GPU when device is cuda.

    predicted_mib: their sum, uncorrected; needed_mib: corrected by what earlier starts measured (correction: the
    factor). available_mib: free now (of the fullest GPU that would be used, or of the host). spare_mib may be
    negative: what is short.
    """

    device: str  # cpu, cuda
    parts_mib: dict[str, float]
    predicted_mib: float
    correction: float
    needed_mib: float
    available_mib: float
    suggestions: tuple[Suggestion, ...] = field(default=())

    @property
    def spare_mib(self) -> float:
        return self.available_mib - self.needed_mib

    @property
    def fits(self) -> bool:
        return self.spare_mib >= 0
