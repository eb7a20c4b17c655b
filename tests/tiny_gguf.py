"""A GGUF file of a few hundred kilobytes: a Qwen2 of one layer with random weights and a byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path

WIDTH, HEADS, FEED_FORWARD = 64, 2, 128
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write_tiny_gguf(path: Path, *, same_output: bool) -> None:
    """same_output: the output layer is another quantization of the embedding, as Qwen's small models have it."""
    import gguf
    import numpy as np

    tokens = byte_tokens()
    merges = [f"{a} {b}" for a in "abcdefgh" for b in "aeiou"]
    tokens += [merge.replace(" ", "") for merge in merges] + list(SPECIAL)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))

    random = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32) * 0.05

    embedding = weights(len(tokens), WIDTH)
    output = embedding if same_output else weights(len(tokens), WIDTH)
    coarse = gguf.quantize(embedding, gguf.GGMLQuantizationType.Q5_0)
    writer.add_tensor("token_embd.weight", coarse, raw_dtype=gguf.GGMLQuantizationType.Q5_0)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for name, shape in layer_shapes().items():
        writer.add_tensor(f"blk.0.{name}", weights(*shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def layer_shapes() -> dict[str, tuple[int, ...]]:
    head = WIDTH // HEADS
    return {
        "attn_norm.weight": (WIDTH,),
        "ffn_norm.weight": (WIDTH,),
        "attn_q.weight": (WIDTH, WIDTH),
        "attn_q.bias": (WIDTH,),
        "attn_k.weight": (head, WIDTH),
        "attn_k.bias": (head,),
        "attn_v.weight": (head, WIDTH),
        "attn_v.bias": (head,),
        "attn_output.weight": (WIDTH, WIDTH),
        "ffn_gate.weight": (FEED_FORWARD, WIDTH),
        "ffn_up.weight": (FEED_FORWARD, WIDTH),
        "ffn_down.weight": (WIDTH, FEED_FORWARD),
    }


def byte_tokens() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, by code point."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(code) for code in printable] + [chr(256 + n) for n in range(256 - len(printable))]
