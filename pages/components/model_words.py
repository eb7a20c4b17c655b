"""What the Model Manager says: roles, engines, steps and outcomes in the person's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages.components.context import _, language
from pages.components.formats import count, gib
from services.engines.entries import HARDWARE
from services.engines.views import Mode, Step
from services.translation import N_

if TYPE_CHECKING:
    from services.engines.entries import CatalogueEntry, Licence, Variant
    from services.engines.memory import Estimate
    from services.engines.options import DeploymentSettings
    from services.model_operations import ModelRow

ROLES = {"chat": N_("Chat"), "code": N_("Code"), "vision": N_("Vision")}
ROLE_ICONS = {"chat": ":material/forum:", "code": ":material/code:", "vision": ":material/image:"}
PURPOSES = {
    "chat": N_("Answers questions about the documents."),
    "code": N_("Writes, explains and improves code."),
    "vision": N_("Answers questions about pictures."),
}
ENGINES = {
    "vllm": "vLLM",
    "transformers": "transformers serve",
    "llama_cpp": "llama.cpp",
    "external": N_("External server"),
}
STEPS = {
    Step.VERIFYING: N_("Verifying"),
    Step.DRAINING: N_("Finishing answers"),
    Step.STOPPING: N_("Stopping the old model"),
    Step.STARTING: N_("Starting the new model"),
    Step.TESTING: N_("Testing"),
    Step.RETIRING: N_("Retiring the old model"),
    Step.ROLLING_BACK: N_("Going back"),
    Step.DONE: N_("Done"),
    Step.FAILED: N_("Failed"),
    Step.CANCELLED: N_("Cancelled"),
}
WAYS = {  # the steps of a rollout that goes well
    Mode.FIRST: (Step.VERIFYING, Step.STARTING, Step.TESTING),
    Mode.BESIDE: (Step.VERIFYING, Step.STARTING, Step.TESTING, Step.RETIRING),
    Mode.IN_PLACE: (Step.VERIFYING, Step.DRAINING, Step.STOPPING, Step.STARTING, Step.TESTING),
    Mode.SHARED: (),
}
OUTCOMES = {
    "": N_("In progress"),
    "serving": N_("Serving"),
    "retired": N_("Replaced"),
    "failed": N_("Failed"),
    "rolled_back": N_("Failed, rolled back"),
    "cancelled": N_("Cancelled"),
    "stopped": N_("Stopped"),
}
REASONS = {
    "start": N_("Started"),
    "switch": N_("Switched"),
    "roll_back": N_("Rolled back"),
    "settings": N_("New settings"),
    "schedule": N_("By schedule"),
    "autostart": N_("With the portal"),
}
COMMERCIAL = {
    "yes": N_("Commercial use allowed"),
    "no": N_("No commercial use"),
    "conditions": N_("Commercial use with conditions"),
}
COMMERCIAL_COLOURS = {"yes": "green", "no": "red", "conditions": "orange"}
QUANTIZATIONS = {
    "as_stored": N_("As stored"),
    "fp8": N_("8-bit (fp8)"),
    "bnb-8bit": N_("8-bit (bitsandbytes)"),
    "bnb-4bit": N_("4-bit (bitsandbytes NF4)"),
}
QUANTIZED = {"none": "", "": "", "bnb-4bit": "NF4", "bnb-8bit": "bitsandbytes"}
PARTS = {
    "weights": N_("weights"),
    "kv_cache": N_("KV cache"),
    "activations": N_("activations"),
    "vision": N_("image encoder"),
    "overhead": N_("engine"),
}
SOURCES = {
    "huggingface": "Hugging Face",
    "modelscope": "ModelScope",
    "wheels": N_("Python packages"),
    "folder": N_("a folder of this server"),
}
LANGUAGES = {"zh": N_("Chinese"), "en": N_("English")}
DAYS = (N_("Mon"), N_("Tue"), N_("Wed"), N_("Thu"), N_("Fri"), N_("Sat"), N_("Sun"))


def role(name: str) -> str:
    return _(ROLES.get(name, name))


def roles(names: tuple[str, ...] | list[str]) -> str:
    return _(", ").join(role(name) for name in names)


def engine(kind: str) -> str:
    return _(ENGINES.get(kind, kind))


def outcome(name: str) -> str:
    return _(OUTCOMES.get(name, name))


def variant_of(row: ModelRow) -> Variant:
    return next(variant for variant in row.entry.variants if variant.id == row.variant_id)


def variant(one: Variant) -> str:
    """Such as "4-bit AWQ"."""
    if one.format == "external":
        return _("served elsewhere")
    bits = _("{n}-bit", n=round(one.bits))
    if one.format == "gguf":
        quantization = "" if one.quantization in ("none", "") else f" {one.quantization.upper()}"
        return f"{bits} GGUF{quantization}"
    how = QUANTIZED.get(one.quantization, one.quantization.upper())
    return f"{bits} {how}".strip()


def model(row: ModelRow) -> str:
    """The name with its variant."""
    return f"{row.entry.name} · {variant(variant_of(row))}"


def parameters(number: int) -> str:
    """Such as "7.6 B parameters", in Chinese counted in hundreds of millions; "" when nobody knows."""
    if not number:
        return ""
    if language() == "zh":
        short = f"{number / 1e8:.1f} 亿"
    else:
        short = f"{number / 1e9:.1f} B" if number >= 1e9 else f"{number / 1e6:.0f} M"
    return _("{n} parameters", n=short)


def licence(one: Licence) -> str:
    """What it allows, in plain words."""
    return one.zh if language() == "zh" else one.en


def about(entry: CatalogueEntry) -> list[str]:
    """Size, window, languages."""
    facts = [parameters(entry.parameters)]
    if entry.context_tokens:
        facts.append(_("context up to {n} tokens", n=count(entry.context_tokens)))
    facts.append(_(", ").join(_(LANGUAGES[name]) for name in entry.languages if name in LANGUAGES))
    return [fact for fact in facts if fact]


def hardware(entry: CatalogueEntry) -> str:
    """What the tutorial's table asks for."""
    if entry.external:
        return ""
    least = HARDWARE[entry.hardware]
    texts = {name: _(text) for name, text in least.model_dump().items()}
    return _("GPU: {gpu} · CPU: {cpu}, with {ram} of memory · disk: {disk}", **texts)


def settings(chosen: DeploymentSettings) -> str:
    """What matters most of how a model is served, in one line."""
    facts = [engine(chosen.engine)]
    if chosen.engine != "external":
        facts.append(_("context {n} tokens", n=count(chosen.context_tokens)))
        facts.append(_("{n} requests at a time", n=count(chosen.max_num_seqs)))
    if chosen.quantization != "as_stored":
        facts.append(_(QUANTIZATIONS[chosen.quantization]))
    if chosen.tensor_parallel > 1:
        facts.append(_("{n} GPUs", n=chosen.tensor_parallel))
    if chosen.idle_unload_minutes:
        facts.append(_("unloaded after {n} min without a request", n=chosen.idle_unload_minutes))
    return " · ".join(facts)


def fit(estimate: Estimate) -> str:
    if estimate.fits:
        return _("fits with {n} to spare", n=gib(estimate.spare_mib))
    return _("{n} short", n=gib(-estimate.spare_mib))


def days(chosen: tuple[int, ...]) -> str:
    return _("every day") if len(set(chosen)) == len(DAYS) else _(", ").join(_(DAYS[day]) for day in sorted(chosen))
