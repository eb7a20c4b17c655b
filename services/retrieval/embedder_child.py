"""The child process that holds a sentence-transformers model: `python -m services.retrieval.embedder_child FOLDER`.

One JSON request per line on standard input, one reply per line on standard output:
{"kind": "passage" | "query" | "count" | "dim", "texts": […]}
→ {"vectors": [[…], …]} | {"counts": […]} | {"dim": n} | {"error": "…"}.
It ends when its input closes, so it does not outlive the portal.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def main(folder: str) -> None:
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not mix with the replies
    model = None
    for line in sys.stdin:
        try:
            model = model or _load(folder)
            reply = _answer(model, json.loads(line))
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _load(folder: str) -> SentenceTransformer:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        folder, trust_remote_code=False, local_files_only=True, model_kwargs={"use_safetensors": True}
    )


def _answer(model: SentenceTransformer, request: dict) -> dict:
    kind, texts = request["kind"], request.get("texts", [])
    if kind == "dim":
        return {"dim": model.get_sentence_embedding_dimension()}
    if kind == "count":
        return {"counts": [len(model.tokenizer(text)["input_ids"]) for text in texts]}
    encode = model.encode_query if kind == "query" else model.encode_document
    return {"vectors": encode(texts, normalize_embeddings=True, show_progress_bar=False).tolist()}


if __name__ == "__main__":
    main(sys.argv[1])
