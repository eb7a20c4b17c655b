"""The arithmetic of an engine's memory: what a model of this shape takes under these settings, part by part.

All sizes are bytes until `needs` hands them out in MiB. What vLLM does was read in its source (0.32), the constants of
CPU engines are measured (tests/benchmarks/memory_estimates.py), those of GPUs are rough: none was there to measure.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.engines.memory import ModelShape
from services.engines.options import DeploymentSettings

MIB, GIB = 2**20, 2**30
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
NF4 = 0.5 + 1 / 64  # a half byte, and a byte of scale for 64 of them (double quantisation)
SMALLER = {"fp8": 1.0, "bnb-8bit": 1.0, "bnb-4bit": NF4}

CPU_STEP_TOKENS = 512  # the launchers' --max-num-batched-tokens and --ubatch-size
GPU_STEP_TOKENS = (
    (160 * 1024, 16_384),
    (70 * 1024, 8192),
    (0, 2048),
)  # by MiB of the GPU; EngineArgs.get_batch_defaults
CPU_BLOCK, GPU_BLOCK = 128, 16  # tokens in a block of vLLM's KV cache
TOKENIZER_PER_TOKEN = 850  # bytes of a tokenizer in Rust and its tables in Python, for each token of the vocabulary
SAMPLER_BYTES = 16  # for each logit: float32, its sorted copy, and the order (int64)


@dataclass(frozen=True)
class Conditions:
    """Where an engine computes. gpu_total_mib: of one GPU."""

    device: str  # cpu, cuda
    fast_bfloat16: bool = False
    gpu_total_mib: float = 0.0


def needs(shape: ModelShape, settings: DeploymentSettings, conditions: Conditions) -> dict[str, float]:
    """MiB by part: weights, kv_cache, activations, vision (with its weights), overhead; of one GPU on cuda."""
    engine = ENGINES[settings.engine](shape, settings, conditions)
    parts = {
        "weights": engine.weights(),
        "kv_cache": engine.kv_cache(),
        "activations": engine.activations(),
        "vision": engine.vision(),
        "overhead": engine.overhead(),
    }
    return {name: size / MIB for name, size in parts.items()}


def kv_cache_gib_for(shape: ModelShape, settings: DeploymentSettings, *, bytes_per_number: float = 4.0) -> float:
    """The KV cache in which vLLM on a CPU keeps every request at its longest: whole blocks, and one of its own."""
    tokens = (_blocks(settings, CPU_BLOCK) + 1) * CPU_BLOCK
    return shape.kv_numbers_per_token * bytes_per_number * tokens / GIB


class _Engine:
    """What is alike in all engines; tensor_parallel is how many GPUs share what can be shared."""

    def __init__(self, shape: ModelShape, settings: DeploymentSettings, conditions: Conditions) -> None:
        self.shape, self.settings, self.conditions = shape, settings, conditions
        self.cuda = conditions.device == "cuda"
        self.shared_by = settings.tensor_parallel if self.cuda else 1

    def bytes_per_number(self) -> float:
        """Of weights that are not quantised, of the KV cache, of what is computed.

        auto, as the launchers do it: 16 bits where the hardware multiplies them (and for quantised weights, whose
        kernels want them), else float32.
        """
        if self.settings.dtype != "auto":
            return BYTES[self.settings.dtype]
        return 2.0 if self.cuda or self.conditions.fast_bfloat16 or self.shape.quantized else 4.0

    def weights(self) -> float:
        """Without those of the image encoder."""
        whole = self._loaded() / self.shared_by
        return max(0.0, whole - self.settings.cpu_offload_gib * GIB) if self.cuda else whole

    def _loaded(self) -> float:
        """Embedding and output layer stay as they are when the rest is made smaller while loading."""
        shape, number = self.shape, self.bytes_per_number()
        if shape.quantized:
            return shape.weight_bytes - shape.vision_parameters * number
        parameters = shape.parameters - shape.vision_parameters
        if self.settings.quantization == "as_stored":
            return parameters * number
        kept = min(parameters, shape.embedding_parameters)
        return kept * number + (parameters - kept) * SMALLER[self.settings.quantization]

    def vision(self) -> float:
        """The encoder's weights, and one image in it: patches times the widest layer, four times the hidden size."""
        shape = self.shape
        if not shape.vision_parameters:
            return 0.0
        number = self.bytes_per_number()
        width = shape.vision_hidden_size or shape.hidden_size
        in_encoder = shape.image_tokens * (2 * 4 + 4) * width * number
        return (
            shape.vision_parameters * number / self.shared_by
            + in_encoder
            + shape.image_tokens * shape.hidden_size * number
        )

    def kv_cache(self) -> float:
        raise NotImplementedError

    def activations(self) -> float:
        raise NotImplementedError

    def overhead(self) -> float:
        raise NotImplementedError

    def _step(self, tokens: int) -> float:
        """Of one layer while so many tokens pass: gate, up and their product; queries, keys, values; four of hidden."""
        shape = self.shape
        heads = (shape.attention_heads + 2 * shape.kv_heads) * shape.head_dim
        numbers = (3 * shape.intermediate_size + heads) / self.shared_by + 4 * shape.hidden_size
        return tokens * numbers * self.bytes_per_number()

    def _kv_bytes(self, tokens: int) -> float:
        """Heads are whole: more GPUs than heads keep copies."""
        share = max(1.0, self.shape.kv_heads / self.shared_by) / self.shape.kv_heads
        return self.shape.kv_numbers_per_token * share * self.bytes_per_number() * tokens


class _Vllm(_Engine):
    """Prompts are read in steps of a fixed size, so the longest one costs no more than its KV cache."""

    # Measured on a CPU: three processes that each import torch and vLLM, and serve HTTP, schedule, or compute (threads
    # of OpenMP and gloo, oneDNN's primitives); what they map of libraries on disk, once; the tracker of shared memory.
    API_SERVER, ENGINE_CORE, WORKER = 460 * MIB, 500 * MIB, 600 * MIB
    LIBRARIES, RESOURCE_TRACKER = 264 * MIB, 6 * MIB
    TOKENIZERS = 5  # four in the API server, which tokenizes in threads, and one in the engine core
    # On a GPU: context and kernels of CUDA with torch; NCCL's buffers; graphs by layers and captured batch sizes.
    CUDA_CONTEXT = 600 * MIB
    NCCL = 400 * MIB
    GRAPH_PER_LAYER = MIB // 4

    def weights(self) -> float:
        """On a CPU embedding and output layer are each packed for oneDNN beside what was stored, tied ones twice too.

        (vllm/model_executor/layers/utils.py: dispatch_cpu_unquantized_gemm with remove_weight=False; other layers are
        packed one after the other, so that for a moment one of them is there twice.)
        """
        if self.cuda:
            return super().weights()
        shape, number = self.shape, self.bytes_per_number()
        packed = 2 * shape.vocab_size * shape.hidden_size * number
        layers = (shape.parameters - shape.vision_parameters - shape.embedding_parameters) / shape.layers
        return super().weights() + packed + layers * number

    def kv_cache(self) -> float:
        if not self.cuda and self.settings.kv_cache_gib is not None:
            return self.settings.kv_cache_gib * GIB
        block = GPU_BLOCK if self.cuda else CPU_BLOCK
        return self._kv_bytes((_blocks(self.settings, block) + 1) * block)

    def activations(self) -> float:
        logits = self.settings.max_num_seqs * self.shape.vocab_size * (self.bytes_per_number() + SAMPLER_BYTES)
        return self._step(max(self._step_tokens(), self.settings.max_num_seqs)) + logits

    def overhead(self) -> float:
        if not self.cuda:
            tokenizers = self.TOKENIZERS * TOKENIZER_PER_TOKEN * self.shape.vocab_size
            processes = self.API_SERVER + self.ENGINE_CORE + self.WORKER + self.RESOURCE_TRACKER
            return processes + self.LIBRARIES + tokenizers
        nccl = self.NCCL if self.shared_by > 1 else 0
        return self.CUDA_CONTEXT + nccl + self._graphs()

    def _step_tokens(self) -> int:
        if not self.cuda:
            return CPU_STEP_TOKENS
        return next(tokens for mib, tokens in GPU_STEP_TOKENS if self.conditions.gpu_total_mib >= mib)

    def _graphs(self) -> float:
        """One per batch size: 1, 2, 4, then every 8 up to twice the requests, at most 512."""
        if self.settings.enforce_eager:
            return 0.0
        sizes = 3 + min(512, 2 * self.settings.max_num_seqs) // 8
        return sizes * self.shape.layers * self.GRAPH_PER_LAYER


class _Transformers(_Engine):
    """One process that answers one request after another, reading a prompt in one go."""

    IMPORTS = 640 * MIB  # torch, transformers and a web server; 235 of it are libraries on disk
    BITSANDBYTES = 200 * MIB
    CUDA_CONTEXT = 600 * MIB

    def weights(self) -> float:
        """On a CPU bitsandbytes saves nothing (measured with two small models in 4 bits): what it makes smaller also
        stays behind in the heap as it was loaded, and weights used as stored keep the whole file mapped.
        """
        shape, number = self.shape, self.bytes_per_number()
        if self.cuda or shape.quantized or self.settings.quantization == "as_stored":
            return super().weights()
        made_smaller = shape.parameters - shape.vision_parameters - shape.embedding_parameters
        as_stored = shape.stored_bits == number * 8
        kept = shape.weight_bytes if as_stored else shape.embedding_parameters * number
        return kept + made_smaller * (number + SMALLER[self.settings.quantization])

    def kv_cache(self) -> float:
        """It grows by copying: for a moment one layer's is there twice."""
        layers = self.shape.attention_layers or self.shape.layers
        return self._kv_bytes(self.settings.context_tokens) / self.shared_by * (1 + 1 / layers)

    def activations(self) -> float:
        return self._step(self.settings.context_tokens) + self.shape.vocab_size * SAMPLER_BYTES

    def overhead(self) -> float:
        if self.cuda:
            return self.CUDA_CONTEXT
        quantizer = self.BITSANDBYTES if self.settings.quantization != "as_stored" else 0
        return self.IMPORTS + quantizer + TOKENIZER_PER_TOKEN * self.shape.vocab_size

    def _kv_bytes(self, tokens: int) -> float:
        """Whole layers are spread over GPUs, not heads."""
        return self.shape.kv_numbers_per_token * self.bytes_per_number() * tokens


class _LlamaCpp(_Engine):
    """One process of C++; weights are mapped from the file as they are stored."""

    PROCESS = 45 * MIB  # of it 10 are libraries on disk
    CUDA_CONTEXT = 300 * MIB

    def bytes_per_number(self) -> float:
        return 2.0  # of the KV cache, whatever the weights are (--cache-type-k, -v: f16)

    def weights(self) -> float:
        return self.shape.weight_bytes / self.shared_by

    def vision(self) -> float:
        return 0.0

    def kv_cache(self) -> float:
        return self._kv_bytes(self.settings.context_tokens * self.settings.max_num_seqs)

    def activations(self) -> float:
        """In float32. Reserved for the logits of every token of a step; touched for those that are asked for."""
        logits = (CPU_STEP_TOKENS if self.cuda else self.settings.max_num_seqs) * self.shape.vocab_size
        return logits * 4 + 2 * self._step(CPU_STEP_TOKENS)

    def overhead(self) -> float:
        return self.PROCESS + (self.CUDA_CONTEXT if self.cuda else 0)


def _blocks(settings: DeploymentSettings, block_tokens: int) -> int:
    return -(-settings.context_tokens // block_tokens) * settings.max_num_seqs


ENGINES: dict[str, type[_Engine]] = {"vllm": _Vllm, "transformers": _Transformers, "llama_cpp": _LlamaCpp}
