"""A stand-in for services.model_operations that behaves: what is ordered happens, step by step when told so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from services.engines.memory import Estimate, Suggestion
from services.engines.options import DeploymentSettings
from services.engines.states import EngineState, EngineStatus
from services.engines.views import ROLES, DeploymentView, Mode, RoleView, RolloutPlan, RolloutView, Sample, Step
from services.errors import (
    BadInput,
    DoesNotFit,
    EngineStartFailed,
    ModelFilesError,
    NotFound,
    PortalError,
    RolloutInProgress,
)
from services.permissions import Actor, Permission, check

NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
SMALL, MIDDLE, CODER = "smollm2-135m-instruct", "qwen2.5-7b-instruct", "qwen2.5-coder-0.5b-instruct"
FREE_MIB = 9.8 * 1024
TYPICAL_S = 80.0


def licence(spdx: str = "Apache-2.0", commercial: str = "yes", **changes) -> SimpleNamespace:
    words = {
        "zh": "可免费商用、修改和再分发，须保留版权声明。",
        "en": "Free to use, change and pass on, in business too; keep the copyright notice.",
    }
    return SimpleNamespace(spdx=spdx, commercial=commercial, **words | changes)


def variant(id_: str, bits: int = 16, **changes) -> SimpleNamespace:
    values = {
        "id": id_,
        "bits": bits,
        "format": "safetensors",
        "quantization": "none",
        "engines": ("vllm", "transformers"),
        "size_bytes": 15_200_000_000,
        "converts": False,
    }
    return SimpleNamespace(**values | changes)


def entry(id_: str, name: str, parameters: float, variants: list[SimpleNamespace], **changes) -> SimpleNamespace:
    values = {
        "family": name.split(maxsplit=1)[0],
        "roles": ("chat",),
        "languages": ("zh", "en"),
        "licence": licence(),
        "context_tokens": 32_768,
        "hardware": "<2B" if parameters < 2e9 else "2-7B",
        "note": lambda _language: "",
        "custom": False,
        "external": None,
    }
    own = {"id": id_, "name": name, "parameters": int(parameters), "variants": tuple(variants)}
    return SimpleNamespace(**own | values | changes)


def catalogue() -> list[SimpleNamespace]:
    """Models of every kind: small and large, free and not, of the catalogue and one's own, here and elsewhere."""
    gguf = {"format": "gguf", "engines": ("llama_cpp", "vllm")}
    coder_gguf = variant("gguf-q4", 4, size_bytes=491_400_064, **gguf)
    llama = licence(
        "Llama-3",
        "conditions",
        zh="可商用；月活超过 7 亿须另行取得许可，并须标注 Built with Meta Llama 3。",
        en="Business use allowed below 700 million users a month; say that it is built with Llama 3.",
    )
    research = licence(
        "CC-BY-NC-4.0", "no", zh="仅限研究和非商业用途。", en="Research and other non-commercial use only."
    )
    return [
        entry(
            CODER,
            "Qwen2.5-Coder 0.5B Instruct",
            494e6,
            [variant("bf16", size_bytes=1_260_000_000), coder_gguf],
            roles=("chat", "code"),
        ),
        entry(SMALL, "SmolLM2 135M Instruct", 135e6, [variant("bf16", size_bytes=269_000_000)], languages=("en",)),
        entry(
            MIDDLE,
            "Qwen2.5 7B Instruct",
            7.6e9,
            [
                variant("bf16"),
                variant("gptq-int8", 8, quantization="gptq", size_bytes=8_900_000_000),
                variant("awq", 4, quantization="awq", size_bytes=5_580_000_000),
                variant("gguf-q4", 4, size_bytes=4_680_000_000, **gguf),
            ],
        ),
        entry("llama-3-8b-instruct", "Llama 3 8B Instruct", 8e9, [variant("bf16")], licence=llama, context_tokens=8192),
        entry(
            "llava-1.5-7b",
            "LLaVA-1.5 7B",
            7.1e9,
            [variant("fp16"), variant("bnb-4bit", 4, quantization="bnb-4bit", size_bytes=4_100_000_000)],
            roles=("vision",),
            licence=research,
            context_tokens=4096,
        ),
        entry(
            "cluster",
            "Cluster of the data centre",
            0,
            [variant("external", 16, format="external", engines=("external",), size_bytes=0)],
            roles=("chat", "code"),
            custom=True,
            external=SimpleNamespace(url="https://models.example.com/v1", model="qwen-72b", public=True),
            licence=licence("unknown", "conditions", zh="以提供方为准。", en="As whoever runs it says."),
            context_tokens=32_768,
        ),
    ]


def settings(**changes) -> DeploymentSettings:
    return DeploymentSettings(**{"context_tokens": 4096, "max_num_seqs": 8} | changes)


def deployment(id_: int = 1, **changes) -> DeploymentView:
    values = {
        "id": id_,
        "model_id": CODER,
        "model_name": "Qwen2.5-Coder 0.5B Instruct",
        "settings": settings(),
        "roles": ("chat", "code"),
        "reason": "switch",
        "created_by_name": "adam",
        "created_at": NOON + timedelta(minutes=id_),
        "ready_at": NOON + timedelta(minutes=id_, seconds=82),
        "ended_at": None,
        "outcome": "serving",
        "error": None,
        "load_s": 82.0,
        "command": ("python", "-m", "vllm.entrypoints.openai.api_server", "--max-model-len", "4096"),
        "environment": {"VLLM_API_KEY": "***"},
        "engine_version": "0.32.0",
        "predicted_mib": 3100.0,
        "measured_mib": 2950.0,
    }
    return DeploymentView(**values | changes)


def out_of_memory() -> EngineStartFailed:
    return EngineStartFailed(
        "The model {name} could not be started: {cause}",
        hint="Choose a shorter context or a smaller variant.",
        name="Qwen2.5 7B Instruct",
        cause="out of memory",
        log="RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
    )


def estimate(needed_mib: float, *suggestions: Suggestion, **changes) -> Estimate:
    parts = {"weights": 0.5, "kv_cache": 0.3, "activations": 0.1, "overhead": 0.1}
    values = {
        "device": "cpu",
        "parts_mib": {name: needed_mib / 1.06 * share for name, share in parts.items()},
        "predicted_mib": needed_mib / 1.06,
        "correction": 1.06,
        "needed_mib": needed_mib,
        "available_mib": FREE_MIB,
        "suggestions": suggestions,
    }
    return Estimate(**values | changes)


def samples(count: int = 60, **changes) -> list[Sample]:
    """One every 15 seconds, in gentle waves."""
    waves = [(number * 7919) % 13 for number in range(count)]
    made = [
        Sample(NOON + timedelta(seconds=15 * at), wave % 4, wave % 2, 8 + wave * 1.7, 400.0 + 90 * wave, 0.3, 2950.0)
        for at, wave in enumerate(waves)
    ]
    return [replace(sample, **changes) for sample in made]


def rollout(step: Step = Step.STARTING, **changes) -> RolloutView:
    values = {
        "role": "chat",
        "roles": ("chat", "code"),
        "model_id": MIDDLE,
        "model_name": "Qwen2.5 7B Instruct",
        "deployment_id": 7,
        "mode": Mode.IN_PLACE,
        "step": step,
        "started_by": "adam",
        "started_at": NOON,
        "elapsed_s": 34.0,
        "typical_start_s": TYPICAL_S,
        "queued": 3,
        "running": 1,
        "error": None,
    }
    return RolloutView(**values | changes)


def download(model_id: str = MIDDLE, state: str = "running", **changes) -> SimpleNamespace:
    values = {
        "model_id": model_id,
        "name": "Qwen2.5 7B Instruct",
        "state": state,
        "step": "Downloading",
        "done": 6_100_000_000,
        "total": 15_200_000_000,
        "rate_bytes_s": 41_000_000.0,
        "eta_s": 222.0,
        "source": "huggingface",
        "error": None,
        "started_by": "adam",
        "started_at": NOON,
    }
    return SimpleNamespace(**values | changes)


@dataclass
class FakeModelOperations:
    """serving: the deployment of each role; states: of its engine; on_disk: model ids. refuse: by method name."""

    entries: list[SimpleNamespace] = field(default_factory=catalogue)
    on_disk: set[str] = field(default_factory=lambda: {CODER, SMALL})
    serving: dict[str, DeploymentView] = field(default_factory=dict)
    states: dict[str, EngineState] = field(default_factory=dict)
    errors: dict[str, PortalError] = field(default_factory=dict)
    status: dict[str, dict] = field(default_factory=dict)  # role → changes of its EngineStatus
    running: int = 0
    device: str = "cpu"
    needed_mib: dict[str, float] = field(default_factory=dict)
    last_good: dict[str, DeploymentView] = field(default_factory=dict)
    now: RolloutView | None = None
    past: list[DeploymentView] = field(default_factory=list)
    fetching: list[SimpleNamespace] = field(default_factory=list)
    readings: list[Sample] = field(default_factory=list)
    starts: list[SimpleNamespace] = field(default_factory=list)
    planned: list[SimpleNamespace] = field(default_factory=list)
    lines: list[str] = field(default_factory=lambda: ["INFO loading", "ERROR out of memory", "INFO bye"])
    refuse: dict[str, PortalError] = field(default_factory=dict)
    ordered: list[tuple] = field(default_factory=list)  # (method, its arguments)

    # Looking

    def roles(self, actor: Actor) -> list[RoleView]:
        check(actor, Permission.RUN_MODELS)
        return [self._role(role) for role in ROLES]

    def catalogue(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return [self._row(one, kind, first=kind is one.variants[0]) for one in self.entries for kind in one.variants]

    def settings_for(self, model_id: str, actor: Actor) -> DeploymentSettings:
        row = self._known(model_id, actor)
        kind = next(kind for kind in row.entry.variants if kind.id == row.variant_id)
        return settings(engine=kind.engines[0])

    def plan(self, role: str, model_id: str, chosen: DeploymentSettings, actor: Actor) -> RolloutPlan:
        row = self._known(model_id, actor)
        before = self.serving.get(role)
        needed = self._needed(row, chosen)
        one = None if row.entry.external else self._estimate(needed, chosen)
        mode = Mode.FIRST if before is None else Mode.BESIDE if one is None or needed < 4096 else Mode.IN_PLACE
        along = before.roles if before and mode is Mode.IN_PLACE else (role,)
        refusal = None if one is None or one.fits else DoesNotFit("It does not fit.", hint="Choose less.")
        return RolloutPlan(
            role=role,
            roles=along,
            model_id=model_id,
            model_name=row.entry.name,
            settings=chosen,
            mode=mode,
            estimate=one,
            replaces=before.model_name if before else "",
            typical_start_s=TYPICAL_S,
            unserved_s=TYPICAL_S + 2 if mode is Mode.IN_PLACE else 0.0,
            refusal=refusal,
        )

    def rollout(self, actor: Actor) -> RolloutView | None:
        check(actor, Permission.RUN_MODELS)
        return self.now

    def history(self, actor: Actor, limit: int = 50) -> list[DeploymentView]:
        check(actor, Permission.RUN_MODELS)
        return self.past[:limit]

    def log(self, deployment_id: int, actor: Actor, *, query: str = "", limit: int = 2000) -> list[str]:
        check(actor, Permission.RUN_MODELS)
        return [line for line in self.lines if query.casefold() in line.casefold()][-limit:]

    def samples(self, role: str, actor: Actor) -> list[Sample]:
        check(actor, Permission.RUN_MODELS)
        return self.readings

    def downloads(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return self.fetching

    def accuracy(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return self.starts

    def schedules(self, actor: Actor) -> list[SimpleNamespace]:
        check(actor, Permission.RUN_MODELS)
        return self.planned

    # Serving

    def switch(
        self, role: str, model_id: str, chosen: DeploymentSettings, actor: Actor, *, anyway: bool = False
    ) -> None:
        plan = self.plan(role, model_id, chosen, actor)
        if self.now and not self.now.step.over:
            raise RolloutInProgress(
                "{who} is switching {role} at the moment.", who=self.now.started_by, role=self.now.role
            )
        self._note("switch", role, model_id, chosen, anyway)
        self.now = rollout(
            Step.VERIFYING,
            role=role,
            roles=plan.roles,
            mode=plan.mode,
            model_id=model_id,
            model_name=plan.model_name,
            started_by=actor.name,
            elapsed_s=0.0,
            queued=0,
        )

    def start(self, role: str, actor: Actor) -> None:
        self._note("start", role)
        self.states[role] = EngineState.STARTING

    def stop(self, role: str, actor: Actor) -> None:
        self._note("stop", role)
        self.states[role] = EngineState.STOPPED

    def roll_back(self, role: str, actor: Actor, deployment_id: int | None = None) -> None:
        self._note("roll_back", role, deployment_id)

    def cancel_rollout(self, actor: Actor) -> None:
        self._note("cancel_rollout")
        self.now = replace(self.now, step=Step.CANCELLED)

    # Files

    def fetch(self, model_id: str, actor: Actor) -> None:
        name = self._known(model_id, actor).entry.name
        self._note("fetch", model_id)
        self.fetching.append(download(model_id, name=name, done=0, started_by=actor.name))

    def pause(self, model_id: str, actor: Actor) -> None:
        self._note("pause", model_id)
        self._download(model_id).state = "paused"

    def resume(self, model_id: str, actor: Actor) -> None:
        self._note("resume", model_id)
        self._download(model_id).state = "running"

    def cancel_fetch(self, model_id: str, actor: Actor) -> None:
        self._note("cancel_fetch", model_id)
        self.fetching.remove(self._download(model_id))

    def verify(self, model_id: str, actor: Actor) -> None:
        self._note("verify", model_id)

    def remove(self, model_id: str, actor: Actor) -> None:
        self._note("remove", model_id)
        self.on_disk.discard(model_id)

    def add_from_hub(self, kind: str, repo: str, revision: str, roles: list[str], actor: Actor) -> str:
        self._note("add_from_hub", kind, repo, revision, tuple(roles))
        return repo.lower().replace("/", "-")

    def add_from_folder(self, path: str, name: str, roles: list[str], actor: Actor) -> str:
        self._note("add_from_folder", path, name, tuple(roles))
        return name.lower()

    def add_external(self, name: str, url: str, actor: Actor, *, model: str, api_key: str, roles: list[str]) -> str:
        self._note("add_external", name, url, model, api_key, tuple(roles))
        return name.lower()

    def forget(self, entry_id: str, actor: Actor) -> None:
        self._note("forget", entry_id)
        self.entries = [one for one in self.entries if one.id != entry_id]

    def export_bundle(self, model_id: str, actor: Actor, folder: str = "") -> Path:
        self._note("export_bundle", model_id)
        return Path("/bundles") / f"{model_id}.zhiku.tar"

    def import_bundle(self, path: str, actor: Actor) -> str:
        self._note("import_bundle", path)
        return MIDDLE

    def add_schedule(
        self, role: str, model_id: str, chosen: DeploymentSettings, actor: Actor, *, at: str, days: list[int]
    ) -> None:
        if not days:
            raise BadInput("Choose at least one day of the week.")
        self._note("add_schedule", role, model_id, at, tuple(days))
        self.planned.append(schedule(len(self.planned) + 1, role=role, model_id=model_id, at=at, days=tuple(days)))

    def remove_schedule(self, schedule_id: int, actor: Actor) -> None:
        self._note("remove_schedule", schedule_id)
        self.planned = [one for one in self.planned if one.id != schedule_id]

    def _note(self, method: str, *arguments: object) -> None:
        if method in self.refuse:
            raise self.refuse[method]
        self.ordered.append((method, *arguments))

    def _role(self, role: str) -> RoleView:
        own = self.serving.get(role)
        state = self.states.get(role, EngineState.READY if own else EngineState.STOPPED)
        model = {"model_id": own.model_id, "model_name": own.model_name} if own else {"model_id": "", "model_name": ""}
        values = {
            **{"role": role, "state": state, "reason": "", "error": self.errors.get(role)},
            **{"elapsed_s": 45.0, "typical_start_s": TYPICAL_S, "pid": None, "base_url": None},
        }
        ready = state is EngineState.READY
        return RoleView(
            role=role,
            status=EngineStatus(**values | model | self.status.get(role, {})),
            deployment=own,
            shared_with=tuple(r for r, other in self.serving.items() if r != role and own and other.id == own.id),
            uptime_s=11_520.0 if ready else None,
            queued=0,
            running=self.running,
            sample=self.readings[-1] if ready and self.readings else None,
            last_good=self.last_good.get(role),
        )

    def _row(self, one: SimpleNamespace, kind: SimpleNamespace, *, first: bool) -> SimpleNamespace:
        model_id = one.id if first else f"{one.id}:{kind.id}"
        row = SimpleNamespace(model_id=model_id, entry=one, variant_id=kind.id, verified_at=None)
        row.ready = bool(one.external) or model_id in self.on_disk
        row.serving = tuple(role for role, own in self.serving.items() if own.model_id == model_id)
        row.download = next((view for view in self.fetching if view.model_id == model_id), None)
        row.estimate = None if one.external else estimate(self._needed(row, settings()), device=self.device)
        return row

    def _needed(self, row: SimpleNamespace, chosen: DeploymentSettings) -> float:
        """Weights as they are stored, and a KV cache by context and requests."""
        kind = next(kind for kind in row.entry.variants if kind.id == row.variant_id)
        weights_mib = kind.size_bytes / (1 << 20) * 1.06
        return self.needed_mib.get(row.model_id, weights_mib + chosen.context_tokens * chosen.max_num_seqs / 26)

    def _estimate(self, needed: float, chosen: DeploymentSettings) -> Estimate:
        if needed <= FREE_MIB:
            return estimate(needed, device=self.device)
        less = chosen.model_copy(update={"context_tokens": 2048})
        message = "Shorter context: {n} tokens"
        return estimate(needed, Suggestion(message, {"n": "2,048"}, less, FREE_MIB * 0.9), device=self.device)

    def _known(self, model_id: str, actor: Actor) -> SimpleNamespace:
        for row in self.catalogue(actor):
            if row.model_id == model_id:
                return row
        raise NotFound("There is no model {id} in the catalogue.", id=model_id)

    def _download(self, model_id: str) -> SimpleNamespace:
        for view in self.fetching:
            if view.model_id == model_id:
                return view
        raise ModelFilesError("Nothing is being fetched.")


def schedule(id_: int, **changes) -> SimpleNamespace:
    values = {
        "id": id_,
        "role": "chat",
        "model_id": MIDDLE,
        "settings": settings(),
        "at": "22:30",
        "days": (0, 1, 2, 3, 4),
        "created_by_name": "adam",
        "last_run_at": None,
        "last_error": None,
    }
    return SimpleNamespace(**values | changes)


def accuracy(model_id: str, predicted_mib: float, measured_mib: float, **changes) -> SimpleNamespace:
    values = {
        **{"model_id": model_id, "engine": "vllm", "context_tokens": 4096, "max_num_seqs": 8},
        **{"predicted_mib": predicted_mib, "measured_mib": measured_mib, "started_at": NOON},
        "error": predicted_mib / measured_mib - 1,
        "corrected_error": (predicted_mib / measured_mib - 1) / 2,
    }
    return SimpleNamespace(**values | changes)


def busy(**changes) -> FakeModelOperations:
    """A portal in full use: two roles on one engine, a download, a history."""
    serving = deployment(6)
    before = deployment(5, model_id=SMALL, model_name="SmolLM2 135M Instruct", outcome="retired", roles=("chat",))
    failed = deployment(
        4,
        model_id=MIDDLE,
        model_name="Qwen2.5 7B Instruct",
        outcome="rolled_back",
        error=out_of_memory(),
        ready_at=None,
        load_s=None,
        measured_mib=None,
        roles=("chat",),
    )
    values = {
        "serving": {"chat": serving, "code": serving},
        "last_good": {"chat": before},
        "past": [serving, before, failed],
        "readings": samples(),
        "starts": [accuracy(CODER, 3100, 2950), accuracy(SMALL, 1400, 1230), accuracy(CODER, 3900, 3200)],
        "planned": [schedule(1)],
    }
    return FakeModelOperations(**values | changes)
