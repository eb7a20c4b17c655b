"""What an engine is doing, and the one snapshot of it that everybody reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from services.engines.options import EngineKind
from services.errors import EngineNotReady, PortalError
from services.translation import N_


class EngineState(StrEnum):
    """What an engine is doing; STOPPED means that no process of it lives.

    STOPPED ──start──► STARTING ──first token──► READY ──stop with a drain time──► DRAINING
       ▲                │ │  ▲                   │   │                                │
       │                │ │  └──crashed: again───┘   │stop, or nobody asked           │idle, or time is up
       │                │ └──stop──────────────────► ▼ ◄──────────────────────────────┘
       └────────────────┼──────────────────────── STOPPING (then STARTING when a start was ordered meanwhile)
                        ▼
                      FAILED ──start──► STARTING,  ──stop──► STOPPED

    A first start that does not become ready goes straight to FAILED: the same model with the same settings fails
    the same way, and nobody should wait for that three times. Restarted are engines that had been ready, restarts
    that failed, and engines that lost the race for their port; after engine_max_restarts of them FAILED. An engine
    that waits for its restart is STARTING.
    """

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True)
class EngineStatus:
    """A snapshot.

    error: why there is no answer to be had, for people (None exactly when READY); reason: its English text.
    elapsed_s: seconds in this state (of STARTING: since this attempt began). typical_start_s: median of the last
    ready starts of this model here, or a guess. unloaded: stopped because nobody asked; the next question starts it.
    switching_to: name of the model that is about to take the role over; "" for none.
    """

    role: str
    state: EngineState
    reason: str
    error: PortalError | None
    model_id: str
    model_name: str
    elapsed_s: float
    typical_start_s: float | None
    pid: int | None
    base_url: str | None
    deployment_id: int | None = None
    unloaded: bool = False
    switching_to: str = ""

    @property
    def ready(self) -> bool:
        return self.state is EngineState.READY


@dataclass(frozen=True)
class Endpoint:
    """Where a ready engine answers. base_url ends in /v1; model_path: its folder, for the tokenizer.

    served_name: what requests call the model; model_id: what the catalogue calls it.
    """

    base_url: str
    api_key: str
    model_id: str
    model_path: Path
    served_name: str = ""
    deployment_id: int = 0
    engine: EngineKind = "vllm"

    @property
    def local(self) -> bool:
        """On loopback: reached without the environment's proxies."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "::1", "localhost")


def not_ready(state: EngineState, elapsed_s: float, typical_start_s: float) -> EngineNotReady:
    """The error that says in words what an engine is doing, for the states in which it simply is not there yet."""
    message, hint = {
        EngineState.STOPPED: (
            N_("The model is stopped."),
            N_("An administrator can start it: cli.py engine start"),
        ),
        EngineState.STARTING: (
            N_("The model is loading: {elapsed:.0f} s of about {typical:.0f} s."),
            N_("Searching works already; answers follow when the model has loaded."),
        ),
        EngineState.DRAINING: (
            N_("The model is finishing its last answers before it stops."),
            N_("Ask again when it is back."),
        ),
        EngineState.STOPPING: (N_("The model is stopping."), N_("Ask again when it is back.")),
    }[state]
    return EngineNotReady(message, hint=hint, elapsed=elapsed_s, typical=typical_start_s)


def unloaded() -> EngineNotReady:
    return EngineNotReady(
        N_("The model was unloaded because nobody asked for a while."),
        hint=N_("The next question loads it again."),
    )


def nothing_ordered() -> EngineNotReady:
    return EngineNotReady(
        N_("No model is running for this."),
        hint=N_("An administrator can start one in the Model Manager."),
    )


def restarting(elapsed_s: float, typical_start_s: float, attempt: int, attempts: int) -> EngineNotReady:
    """The error of an engine that ended by itself and is being started again."""
    return EngineNotReady(
        N_(
            "The model ended unexpectedly and is loading again (restart {attempt} of {attempts}): "
            "{elapsed:.0f} s of about {typical:.0f} s."
        ),
        hint=N_("Searching works already; answers follow when the model has loaded."),
        elapsed=elapsed_s,
        typical=typical_start_s,
        attempt=attempt,
        attempts=attempts,
    )
