"""The child of convert.py: python -m services.engines.convert_child FILE.gguf FOLDER

Prints JSON lines: {"percent": n} while it works, at the end what it did. Everything else goes to standard error.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

# Per cent of the whole at the end of each phase, by time measured with the 0.5B model.
IMPORTED, HEADER_READ, TENSORS_READ, TOKENIZER_READ = 15, 30, 75, 90

# Two quantizations of one tensor differ by a few per cent (0.045 with Qwen2.5-Coder-0.5B, Q5_0 against Q8_0, each
# row's cosine over 0.998); two different tensors by more than their own size.
SAME_TENSOR = 0.1


def main() -> None:
    gguf, folder = Path(sys.argv[1]), Path(sys.argv[2])
    report(0)
    import gguf as gguf_package
    import torch
    import transformers

    report(IMPORTED)
    reader = read_once(gguf_package)
    show_tensors_read()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    report(TENSORS_READ)
    tied = tie_embeddings(model, {t.name: t.n_bytes for t in reader(gguf).tensors})
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    report(TOKENIZER_READ)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    report(100)
    print(json.dumps({"converter": f"transformers {transformers.__version__}", "tied_embeddings": tied}))


def report(percent: int) -> None:
    print(json.dumps({"percent": percent}), flush=True)


def read_once(gguf_package):
    """Let transformers share one GGUFReader: it makes three, and each takes 10 s over a vocabulary of 150,000.

    Returns the cached function that makes it.
    """
    import numpy as np

    class Reader(gguf_package.GGUFReader):
        def _build_fields(self, offset, count):
            self.data = self.data.view(np.ndarray)  # a memmap's own slicing costs more than the reading
            return super()._build_fields(offset, count)

    opened = functools.cache(Reader)
    gguf_package.GGUFReader = lambda path: opened(str(path))
    return gguf_package.GGUFReader


def show_tensors_read() -> None:
    """Turn transformers' progress bar over the tensors into reports."""
    from transformers import modeling_gguf_pytorch_utils

    def counted(tensors, **_):
        for done, tensor in enumerate(tensors, start=1):
            yield tensor
            report(HEADER_READ + (TENSORS_READ - HEADER_READ) * done // len(tensors))

    modeling_gguf_pytorch_utils.tqdm = counted


def tie_embeddings(model, stored_bytes: dict[str, int]) -> bool:
    """Make one tensor of token embedding and output layer when they are two quantizations of the same one.

    Qwen's small models share it; llama.cpp stores it twice, quantized differently. The one stored in more bytes is
    nearer to the original and serves for both. Saves 270 MB of the 0.5B in bfloat16, twice that served in float32.
    """
    if model.config.tie_word_embeddings or "output.weight" not in stored_bytes:
        return bool(model.config.tie_word_embeddings)
    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    if relative_difference(embedding.weight, output.weight) > SAME_TENSOR:
        return False
    if stored_bytes["output.weight"] > stored_bytes["token_embd.weight"]:
        embedding.weight.data = output.weight.data
    model.config.tie_word_embeddings = True
    model.tie_weights()
    return True


def relative_difference(a, b) -> float:
    """Norm of a - b over the norm of a, in float32, by blocks of rows to spare memory."""
    difference = size = 0.0
    for rows_a, rows_b in zip(a.detach().split(8192), b.detach().split(8192), strict=True):
        difference += float((rows_a.float() - rows_b.float()).square().sum())
        size += float(rows_a.float().square().sum())
    return (difference / size) ** 0.5


if __name__ == "__main__":
    main()
