"""What of a stranger's model is let in: safetensors, GGUF and the small files that describe them. Never code."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from services.errors import UnsafeModel, VerificationFailed
from services.translation import N_

DESCRIPTIONS = (".json", ".txt", ".model", ".jinja")
LEGAL = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
OURS = "manifest.json"  # the store writes its own
DESCRIPTION_MAX = 256 * 1024**2  # bytes
CONFIG_MAX = 8 * 1024**2  # bytes
HEADER_MAX = 100_000_000  # bytes; safetensors' own limit
WITH_AUTO_MAP = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
SHARD = re.compile(r"-\d{5}-of-(\d{5})\.(gguf|safetensors)$")
SIMPLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")

# Model types that transformers and vLLM have code of their own for: a repository of such a model may also bring its
# own (Phi-3 does), which is neither downloaded nor asked for.
# fmt: off
BUILT_IN_TYPES = frozenset((
    "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen2_vl", "qwen2_5_vl", "qwen3_vl",
    "phi", "phi3", "gemma", "gemma2", "gemma3", "gemma3_text", "llava", "llava_next", "glm", "glm4", "olmo", "olmo2",
    "olmo3", "smollm3", "granite", "cohere", "cohere2", "falcon", "gpt2", "gpt_neox", "gpt_oss", "stablelm",
    "starcoder2", "internvl", "pixtral", "mistral3", "deepseek_v3",
))
# fmt: on


def refuse_tricks(paths: Iterable[str]) -> None:
    """Raises UnsafeModel for a path that leads out of its folder or is written to be misread."""
    for path in paths:
        steps = path.split("/")
        if not path.isprintable() or "\\" in path or ":" in steps[0] or not {"", ".", ".."}.isdisjoint(steps):
            raise UnsafeModel(
                N_("The model names a file {path}, which could lead elsewhere."),
                hint=N_("Nothing of it was taken. Choose another source."),
                path=repr(path),
            )


def wanted(sizes: dict[str, int], form: str, pick: str, what: str) -> list[str]:
    """Of the files of a repository or folder (path → bytes) those that are taken, sorted.

    form: safetensors or gguf; pick: a glob, for gguf; what: its name, for messages. Only the top folder counts.
    Raises UnsafeModel for path tricks, and when there are weights in no form that is safe; VerificationFailed when some
    of their parts are missing.
    """
    refuse_tricks(sizes)
    top = [path for path in sizes if "/" not in path and path != OURS]
    chosen = _safetensors(top, what) if form == "safetensors" else _gguf(top, pick or "*.gguf")
    if not chosen:
        raise _nothing_safe(what, form, sizes)
    if form == "safetensors":
        if "config.json" not in top:
            raise UnsafeModel(N_("{what} has no config.json: it is not a whole model."), what=what)
        chosen += [path for path in top if path.endswith(DESCRIPTIONS) and sizes[path] <= DESCRIPTION_MAX]
    chosen += [path for path in top if path.partition(".")[0] in LEGAL and sizes[path] <= DESCRIPTION_MAX]
    odd = [path for path in chosen if not SIMPLE_NAME.fullmatch(path)]
    if odd:
        raise UnsafeModel(N_("The model names a file {path}, which could lead elsewhere."), path=repr(odd[0]))
    return sorted(set(chosen))


def gguf_kinds(paths: Iterable[str]) -> dict[str, str]:
    """The quantizations among GGUF files of a repository: label (q4_k_m, q8_0, f16 …) → a glob that picks it."""
    found = {}
    for path in paths:
        name = SHARD.sub(".gguf", path)
        match = re.search(r"[-._]((?:i?q\d[a-z0-9_]*|f16|bf16|f32|fp16))\.gguf$", name, re.IGNORECASE)
        if match and "/" not in path:
            found.setdefault(match[1].lower(), f"*{match[1]}*.gguf")
    return found


def check_descriptions(folder: Path, what: str) -> None:
    """Read what describes the model. Raises UnsafeModel when it is garbage or wants code of its own to be run."""
    config = read_json(folder / "config.json", what)
    if str(config.get("model_type")) in BUILT_IN_TYPES:
        return
    for name in WITH_AUTO_MAP:
        if (folder / name).exists() and "auto_map" in read_json(folder / name, what):
            raise UnsafeModel(
                N_("{what} needs program code of its own to be run (auto_map in {file}), which is refused."),
                hint=N_("Choose a model whose architecture the engines have built in."),
                what=what,
                file=name,
            )


def read_json(path: Path, what: str) -> dict:
    """Raises UnsafeModel for anything but a JSON object of a sensible size."""
    try:
        if path.stat().st_size > CONFIG_MAX and path.name == "config.json":
            raise ValueError("too large")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _garbage(path, what) from error
    if not isinstance(data, dict):
        raise _garbage(path, what)
    return data


def check_weights(path: Path, what: str) -> None:
    """Whether a file of weights begins like one. Raises UnsafeModel: a pickle under another name, or damage."""
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix == ".gguf":
        right = start[:4] == b"GGUF"
    elif path.suffix == ".safetensors":
        length = int.from_bytes(start[:8], "little")
        right = start[8:] == b"{" and 2 <= length <= min(HEADER_MAX, path.stat().st_size - 8)
    else:
        return
    if not right:
        raise _garbage(path, what)


def _safetensors(top: Sequence[str], what: str) -> list[str]:
    """Without a second copy of the weights: Mistral ships consolidated.safetensors beside the shards."""
    weights = [path for path in top if path.endswith(".safetensors")]
    shards = [path for path in weights if SHARD.search(path)]
    for stem, count in {(SHARD.sub("", path), int(SHARD.search(path)[1])) for path in shards}:
        found = sum(SHARD.sub("", path) == stem for path in shards)
        if found != count:
            raise VerificationFailed(
                N_("{what} lacks parts of its weights: {found} of {count} are there."),
                hint=N_("It was not copied or published whole."),
                what=what,
                found=found,
                count=count,
            )
    plain = [path for path in weights if not path.startswith("consolidated")]
    return shards or plain or weights


def _gguf(top: Sequence[str], pick: str) -> list[str]:
    """One file, or all parts of one that was split."""
    fitting = [path for path in top if path.endswith(".gguf") and fnmatch.fnmatch(path.lower(), pick.lower())]
    language = [path for path in fitting if not path.lower().startswith("mmproj")]
    whole = sorted((path for path in language if not SHARD.search(path)), key=lambda path: (len(path), path))
    if whole:
        return whole[:1]
    first = next((path for path in sorted(language) if "-00001-of-" in path), None)
    if first is None:
        return []
    stem, count = SHARD.sub("", first), int(SHARD.search(first)[1])
    parts = [path for path in language if SHARD.sub("", path) == stem]
    return sorted(parts) if len(parts) == count else []


def _nothing_safe(what: str, form: str, paths: Iterable[str]) -> UnsafeModel:
    if any(path.endswith(PICKLES) for path in paths):
        return UnsafeModel(
            N_("{what} has its weights as pickles only, which can run code when they are read."),
            hint=N_("Choose a repository with safetensors or GGUF files."),
            what=what,
        )
    return UnsafeModel(
        N_("{what} has no {format} files that could be served."),
        hint=N_("Choose a repository with safetensors or GGUF files."),
        what=what,
        format=form,
    )


def _garbage(path: Path, what: str) -> UnsafeModel:
    return UnsafeModel(
        N_("{file} of {what} is not what its name says."),
        hint=N_("Nothing of it was taken. Choose another source."),
        file=path.name,
        what=what,
    )
