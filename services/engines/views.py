"""What the Model Manager and the console see of deployments: snapshots, safe to keep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.engines.memory import Estimate
from services.engines.options import DeploymentSettings, Spec
from services.engines.states import EngineStatus
from services.errors import PortalError

ROLES = ("chat", "code", "vision")


class Mode(StrEnum):
    """How a rollout goes."""

    FIRST = "first"  # nothing serves the role yet
    BESIDE = "beside"  # both fit: the old one serves until the new one does
    IN_PLACE = "in_place"  # they do not: requests wait while the old one is stopped and the new one loads
    SHARED = "shared"  # the deployment runs already, for another role: only the alias moves


class Step(StrEnum):
    """Where a rollout is. VERIFYING → [DRAINING → STOPPING →] STARTING → TESTING → [RETIRING →] DONE

    From any of them ROLLING_BACK → FAILED (error says why), or → CANCELLED.
    """

    VERIFYING = "verifying"  # files against their hashes, the engine's arguments
    DRAINING = "draining"  # new requests wait, running ones finish
    STOPPING = "stopping"
    STARTING = "starting"  # the candidate loads
    TESTING = "testing"  # golden prompts
    RETIRING = "retiring"  # the new one serves; the old one finishes its answers and stops
    ROLLING_BACK = "rolling_back"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (Step.DONE, Step.FAILED, Step.CANCELLED)


@dataclass(frozen=True)
class Alternative:
    """Another variant of the same model that would fit. ready: it is on this machine."""

    model_id: str
    needed_mib: float
    ready: bool


@dataclass(frozen=True)
class RolloutPlan:
    """What a switch would do, before it is ordered.

    roles: all that move (in place, the other roles of the stopped deployment move along). unserved_s: how long
    requests will wait, by what this machine has seen. refusal: why it cannot be ordered; alternatives: when that is
    because it does not fit, the variants that do, the largest first.
    """

    role: str
    roles: tuple[str, ...]
    model_id: str
    model_name: str
    settings: DeploymentSettings
    mode: Mode
    estimate: Estimate | None  # None: not a process of this machine
    replaces: str  # name of the model that serves now; "" for none
    typical_start_s: float
    unserved_s: float
    shares: Spec | None = None  # the deployment that runs already, in mode SHARED
    refusal: PortalError | None = None
    alternatives: tuple[Alternative, ...] = ()
    old_stays_for: tuple[str, ...] = ()  # roles that the present deployment goes on serving


@dataclass(frozen=True)
class RolloutView:
    """A rollout as it is, or as it ended. queued, running: requests that wait and that are being answered."""

    role: str
    roles: tuple[str, ...]
    model_id: str
    model_name: str
    deployment_id: int
    mode: Mode
    step: Step
    started_by: str
    started_at: datetime
    elapsed_s: float
    typical_start_s: float
    queued: int
    running: int
    error: PortalError | None = None


@dataclass(frozen=True)
class Sample:
    """Readings of an engine at one moment. Rates are over the time since the sample before; None: not known.

    first_token_ms: mean over the requests that began since the sample before; kv_cache_usage: in [0, 1].
    """

    at: datetime
    running: int
    waiting: int
    tokens_per_s: float | None
    first_token_ms: float | None
    kv_cache_usage: float | None
    memory_mib: float | None


@dataclass(frozen=True)
class DeploymentView:
    """A deployment in the history. reason, outcome: as in db.engine_tables.Deployment. load_s: of its last start."""

    id: int
    model_id: str
    model_name: str
    settings: DeploymentSettings
    roles: tuple[str, ...]
    reason: str
    created_by_name: str
    created_at: datetime
    ready_at: datetime | None
    ended_at: datetime | None
    outcome: str
    error: PortalError | None
    load_s: float | None
    command: tuple[str, ...]
    environment: dict[str, str]
    engine_version: str
    predicted_mib: float | None
    measured_mib: float | None


@dataclass(frozen=True)
class RoleView:
    """A role's card. deployment None: nothing was ever ordered for it. queued: requests that wait for a model.

    shared_with: the other roles that the same deployment serves. last_good: what a roll back would return to.
    """

    role: str
    status: EngineStatus
    deployment: DeploymentView | None
    shared_with: tuple[str, ...]
    uptime_s: float | None
    queued: int
    running: int
    sample: Sample | None
    last_good: DeploymentView | None
