"""How an engine is to serve a model: the settings of a deployment, each with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

EngineKind = Literal["vllm", "transformers", "llama_cpp", "external"]
Quantization = Literal["as_stored", "fp8", "bnb-8bit", "bnb-4bit"]


class LoraAdapter(BaseModel):
    """A LoRA adapter on disk, served beside its base model under its own name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    path: str


class DeploymentSettings(BaseModel):
    """Frozen, and JSON in the database: a changed setting is another deployment.

    What an engine does not have (tensor parallelism of llama.cpp, say) its launcher refuses or ignores, as said there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: EngineKind = "vllm"
    context_tokens: int = Field(4096, ge=256, le=1_048_576, description="Longest prompt and answer together, tokens.")
    max_num_seqs: int = Field(8, ge=1, le=1024, description="Requests answered at the same time.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Number format of weights and computation; auto: what suits the hardware."
    )
    quantization: Quantization = Field(
        "as_stored", description="Made smaller while loading: fp8 and bnb-8bit halve, bnb-4bit (NF4) quarters."
    )
    kv_cache_gib: float | None = Field(
        None, gt=0, description="Room for the KV cache on a CPU, GiB; empty: context times requests."
    )
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="Share of each GPU's memory that may be used.")
    tensor_parallel: int = Field(1, ge=1, le=64, description="GPUs that share the model.")
    cpu_offload_gib: float = Field(0, ge=0, description="Weights kept in host memory instead of the GPU's, GiB.")
    enforce_eager: bool = Field(False, description="Do without CUDA graphs: less memory, slower. Always so on a CPU.")
    prefix_caching: bool = Field(True, description="Keep computed prompts for questions that begin alike.")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads; 0: all cores.")
    lora: tuple[LoraAdapter, ...] = Field((), description="LoRA adapters on the model; the first one answers.")
    idle_unload_minutes: int = Field(0, ge=0, description="Unloaded after so long without a request; 0: never.")


@dataclass(frozen=True)
class Spec:
    """What one deployment runs. id: of its row; it never changes."""

    id: int
    model_id: str
    model_name: str
    settings: DeploymentSettings
