"""What administrators do with models: every call is checked, and what changes anything is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from services.audit.details import EngineDetail, ModelDetail
from services.audit.events import Action, EventOutcome
from services.audit.trail import Act, AuditTrail
from services.engines.bundle import export_bundle, import_bundle
from services.engines.deployments import Deployments
from services.engines.downloads import Downloads, DownloadView
from services.engines.memory import Estimate
from services.engines.options import DeploymentSettings
from services.engines.schedules import Schedule, Schedules
from services.engines.views import ROLES, DeploymentView, RoleView, RolloutPlan, RolloutView, Sample, Step
from services.errors import BadInput, Denied, EngineError, ModelFilesError, NotFound, PortalError
from services.permissions import CONSOLE, Actor, Permission, check
from services.translation import N_

if TYPE_CHECKING:
    from services.engines.catalogue import CatalogueEntry
    from services.engines.corrections import Accuracy, Corrections
    from services.engines.estimator import Estimator
    from services.engines.models import ModelStore
    from services.settings import Settings

FEW_LINES = 2000  # so many are read off the end; for more, or to search, a log is read whole
OUTCOMES = {Step.DONE: EventOutcome.SUCCEEDED, Step.CANCELLED: EventOutcome.CANCELLED, Step.FAILED: EventOutcome.FAILED}


@dataclass(frozen=True)
class ModelRow:
    """A model of the catalogue as it stands here. estimate: with its default settings; None: cannot be told.

    serving: the roles that it answers for.
    """

    model_id: str
    entry: CatalogueEntry
    variant_id: str
    ready: bool
    estimate: Estimate | None
    download: DownloadView | None
    serving: tuple[str, ...]
    verified_at: datetime | None


@dataclass(frozen=True)
class Memory:
    """What is known of the memory that models take."""

    estimator: Estimator
    corrections: Corrections


class ModelOperations:
    """Permission.RUN_MODELS for everything."""

    def __init__(
        self,
        deployments: Deployments,
        models: ModelStore,
        downloads: Downloads,
        schedules: Schedules,
        memory: Memory,
        *,
        settings: Settings,
        audit: AuditTrail,
    ) -> None:
        self._deployments = deployments
        self._models = models
        self._downloads = downloads
        self._schedules = schedules
        self._memory = memory
        self._settings = settings
        self._audit = audit

    # Looking

    def roles(self, actor: Actor) -> list[RoleView]:
        check(actor, Permission.RUN_MODELS)
        return [self._deployments.role(role) for role in ROLES]

    def catalogue(self, actor: Actor) -> list[ModelRow]:
        """Every variant of every entry, in the catalogue's order."""
        check(actor, Permission.RUN_MODELS)
        downloads = {view.model_id: view for view in self._downloads.list()}
        serving = self._deployments.serving()
        return [self._row(model_id, downloads, serving) for model_id in self._models.ids()]

    def settings_for(self, model_id: str, actor: Actor) -> DeploymentSettings:
        """The defaults for this model on this machine. Raises NotFound."""
        check(actor, Permission.RUN_MODELS)
        return self._deployments.default_settings(model_id)

    def plan(self, role: str, model_id: str, settings: DeploymentSettings, actor: Actor) -> RolloutPlan:
        """What a switch would do. Raises NotFound."""
        check(actor, Permission.RUN_MODELS)
        return self._deployments.plan(role, model_id, settings)

    def consult_hub(self, model_id: str, actor: Actor) -> None:
        """Read what the estimate needs from the hub, some seconds, when the model is not here. Raises FetchFailed, …"""
        check(actor, Permission.RUN_MODELS)
        if not self._models.ready(model_id):
            self._memory.estimator.consult_hub(model_id)

    def rollout(self, actor: Actor) -> RolloutView | None:
        """The one that is going on, or the last that ended since the portal started."""
        check(actor, Permission.RUN_MODELS)
        return self._deployments.rollout()

    def history(self, actor: Actor, limit: int = 50) -> list[DeploymentView]:
        """Newest first."""
        check(actor, Permission.RUN_MODELS)
        return self._deployments.rows.history(limit)

    def log(self, deployment_id: int, actor: Actor, *, query: str = "", limit: int = FEW_LINES) -> list[str]:
        """The last lines, oldest first; with a query those that contain it, whatever the case. Raises NotFound."""
        check(actor, Permission.RUN_MODELS)
        log = self._deployments.deployment_log(deployment_id)
        return log.tail(limit) if not query and limit <= FEW_LINES else log.search(query, limit)

    def samples(self, role: str, actor: Actor) -> list[Sample]:
        """Of the last quarter of an hour, oldest first."""
        check(actor, Permission.RUN_MODELS)
        return self._deployments.samples(role)

    def downloads(self, actor: Actor) -> list[DownloadView]:
        check(actor, Permission.RUN_MODELS)
        return self._downloads.list()

    def accuracy(self, actor: Actor) -> list[Accuracy]:
        """Predicted against measured memory of past starts, newest first."""
        check(actor, Permission.RUN_MODELS)
        return self._memory.corrections.accuracy()

    def schedules(self, actor: Actor) -> list[Schedule]:
        check(actor, Permission.RUN_MODELS)
        return self._schedules.list()

    # Serving

    def switch(
        self, role: str, model_id: str, settings: DeploymentSettings, actor: Actor, *, anyway: bool = False
    ) -> None:
        """Order the model for the role and return at once. anyway: although it does not fit by the estimate.

        Raises NotFound, BadInput, RolloutInProgress, DoesNotFit, ModelFilesError, EngineUnavailable.
        """
        self._switch(Action.ENGINE_SWITCH, role, model_id, settings, actor=actor, reason="switch", anyway=anyway)

    def start(self, role: str, actor: Actor) -> None:
        """Run what the role points at again. Raises NotFound when nothing was ever chosen for it."""
        with self._act(actor, Action.ENGINE_START, role, EngineDetail(role=role, model=self._model_of(role))):
            self._deployments.start(role, by=actor)

    def stop(self, role: str, actor: Actor) -> None:
        """Stop it, after the answers that are being given, and wait until no process of it lives.

        The other roles of the same deployment stop with it. Raises RolloutInProgress, EngineError.
        """
        with self._act(actor, Action.ENGINE_STOP, role, EngineDetail(role=role, model=self._model_of(role))):
            self._deployments.stop(role, drain_s=self._settings.drain_timeout_s)

    def roll_back(self, role: str, actor: Actor, deployment_id: int | None = None) -> None:
        """Switch to an earlier deployment's model and settings: the last good one unless one is named.

        Raises NotFound, and as switch() does.
        """
        self._require(actor, Action.ENGINE_ROLL_BACK, role)
        view = self._deployments.rows.view(deployment_id) if deployment_id else self._deployments.role(role).last_good
        if view is None:
            raise NotFound(N_("There is no earlier deployment of {role} to go back to."), role=role)
        action = Action.ENGINE_ROLL_BACK
        self._switch(action, role, view.model_id, view.settings, actor=actor, reason="roll_back")

    def cancel_rollout(self, actor: Actor) -> None:
        with self._act(actor, Action.ENGINE_CANCEL, "", None):
            self._deployments.cancel_rollout()

    # Files

    def fetch(self, model_id: str, actor: Actor) -> None:
        """Begin to download, and return at once. Raises NotFound, ModelFilesError."""
        with self._act(actor, Action.MODEL_FETCH, model_id, ModelDetail(model=model_id)):
            self._downloads.start(model_id, by=actor.name)

    def pause(self, model_id: str, actor: Actor) -> None:
        with self._act(actor, Action.MODEL_FETCH, model_id, ModelDetail(model=model_id, source="pause")):
            self._downloads.pause(model_id)

    def resume(self, model_id: str, actor: Actor) -> None:
        with self._act(actor, Action.MODEL_FETCH, model_id, ModelDetail(model=model_id, source="resume")):
            self._downloads.resume(model_id, by=actor.name)

    def cancel_fetch(self, model_id: str, actor: Actor) -> None:
        """What was downloaded so far is deleted."""
        with self._act(actor, Action.MODEL_FETCH, model_id, ModelDetail(model=model_id, source="cancel")):
            self._downloads.cancel(model_id)

    def verify(self, model_id: str, actor: Actor) -> None:
        """Read every file and compare. Seconds a gigabyte. Raises NotFound, VerificationFailed."""
        with self._act(actor, Action.MODEL_VERIFY, model_id, ModelDetail(model=model_id)):
            self._models.verify(model_id)

    def remove(self, model_id: str, actor: Actor) -> None:
        """Delete the files. Raises ModelInUse while an engine runs on them."""
        with self._act(actor, Action.MODEL_REMOVE, model_id, ModelDetail(model=model_id)):
            self._require_idle(model_id)
            self._models.remove(model_id)

    def add_from_hub(self, kind: str, repo: str, revision: str, roles: Sequence[str], actor: Actor) -> str:
        """A catalogue entry for a hub's repository; its id. Raises FetchFailed, GatedModel, UnsafeModel, BadInput."""
        detail = ModelDetail(source=f"{kind}:{repo}", revision=revision, roles=tuple(roles))
        with self._act(actor, Action.MODEL_ADD, repo, detail):
            entry = self._models.add_from_hub(kind, repo, revision, tuple(roles))
            with suppress(ModelFilesError):  # without the headers there is no estimate until it is here
                self._memory.estimator.consult_hub(entry.id)
            return entry.id

    def add_from_folder(self, path: str, name: str, roles: Sequence[str], actor: Actor) -> str:
        """Copy a folder of the server into the store; the entry's id. Raises UnsafeModel, BadInput, StorageFull."""
        with self._act(actor, Action.MODEL_ADD, name, ModelDetail(source=path, roles=tuple(roles))):
            return self._models.add_from_folder(Path(path), name, tuple(roles)).id

    def add_external(self, name: str, url: str, actor: Actor, *, model: str, api_key: str, roles: Sequence[str]) -> str:
        """A server elsewhere that speaks the OpenAI API; the entry's id. Raises BadInput."""
        where = _split(url)  # what else an address may hold (a name and a password, a key) is not for the record
        source = f"{where.scheme}://{where.netloc.rpartition('@')[2]}{where.path}"
        with self._act(actor, Action.MODEL_ADD, name, ModelDetail(model=model, source=source, roles=tuple(roles))):
            return self._models.add_external(name, url, model, api_key, tuple(roles)).id

    def forget(self, entry_id: str, actor: Actor) -> None:
        """Take an entry that administrators added out of the catalogue, with its files. Raises NotFound."""
        with self._act(actor, Action.MODEL_FORGET, entry_id, ModelDetail(model=entry_id)):
            self._require_idle(*self._models.variants_of(entry_id))
            self._models.forget(entry_id)

    def export_bundle(self, model_id: str, actor: Actor, folder: str = "") -> Path:
        """One file with the model, its entry and hashes, under PORTAL_HOME; elsewhere only the console may write.

        Raises Denied, ModelFilesError, StorageFull.
        """
        with self._act(actor, Action.MODEL_EXPORT, model_id, ModelDetail(model=model_id, source=folder)):
            if folder and actor is not CONSOLE:
                raise Denied(N_("Only the console may write outside the portal's own folder."))
            target = Path(folder) if folder else self._settings.bundles_dir
            if not folder:
                target.mkdir(parents=True, exist_ok=True)
            return export_bundle(self._models, model_id, target)

    def bundles(self, actor: Actor) -> list[str]:
        """Names of the bundles in the portal's own folder on the server."""
        check(actor, Permission.RUN_MODELS)
        return sorted(path.name for path in self._settings.bundles_dir.glob("[!.]*.tar"))

    def import_bundle(self, path: str, actor: Actor) -> str:
        """The id of the model that was in the bundle. path: a name in the portal's own folder; of the console any path.

        Raises VerificationFailed, UnsafeModel, StorageFull, BadInput, EngineError while the model is in use.
        """
        with self._act(actor, Action.MODEL_IMPORT, path, ModelDetail(source=path)):
            bundle = Path(path) if actor is CONSOLE else self._settings.bundles_dir / Path(path).name
            return import_bundle(self._models, bundle, allow=self._deployments.require_unused)

    # Planned switches

    def add_schedule(
        self,
        role: str,
        model_id: str,
        settings: DeploymentSettings,
        actor: Actor,
        *,
        at: str,
        days: Sequence[int],
    ) -> None:
        """at: HH:MM; days: 0 Monday … 6 Sunday. Raises BadInput, NotFound."""
        detail = ModelDetail(model=model_id, roles=(role,), at=at, days=tuple(days))
        with self._act(actor, Action.MODEL_SCHEDULE, role, detail):
            self._models.entry(model_id)
            self._schedules.add(role, model_id, settings, at=at, days=tuple(days), by=actor)

    def remove_schedule(self, schedule_id: int, actor: Actor) -> None:
        with self._act(actor, Action.MODEL_SCHEDULE, str(schedule_id), ModelDetail(source="remove")):
            self._schedules.remove(schedule_id)

    def run_schedule(self, schedule: Schedule, actor: Actor) -> None:
        """Order a planned switch whose time has come; on behalf of whoever planned it."""
        settings = schedule.settings
        self._switch(Action.ENGINE_SWITCH, schedule.role, schedule.model_id, settings, actor=actor, reason="schedule")

    def _switch(
        self,
        action: Action,
        role: str,
        model_id: str,
        settings: DeploymentSettings,
        *,
        actor: Actor,
        reason: str,
        anyway: bool = False,
    ) -> None:
        """The event begins with the order and ends with the rollout."""
        self._require(actor, action, role)
        before = self._model_of(role)
        detail = EngineDetail(
            role=role, model=model_id, model_before=before, settings=settings.model_dump(mode="json"), reason=reason
        )
        act = self._audit.begin(actor, action, role, detail)
        try:
            self._deployments.switch(
                role,
                model_id,
                settings,
                by=actor,
                reason=reason,
                anyway=anyway,
                on_end=lambda view: _end(act, view, detail),
            )
        except PortalError as error:
            act.end(EventOutcome.FAILED, error=error)
            raise

    def _require_idle(self, *model_ids: str) -> None:
        """Raises EngineError while an engine needs the files, or a download is making them."""
        self._deployments.require_unused(*model_ids)
        for view in self._downloads.list():
            if view.model_id in model_ids and view.state in ("queued", "running"):
                raise EngineError(
                    N_("{name} is being downloaded."), hint=N_("Cancel the download first."), name=view.name
                )

    def _require(self, actor: Actor, action: Action, target: str) -> None:
        self._audit.require(actor, Permission.RUN_MODELS, action, target)

    def _act(
        self, actor: Actor, action: Action, target: str, detail: EngineDetail | ModelDetail | None
    ) -> AbstractContextManager[Act]:
        self._require(actor, action, target)
        return self._audit.act(actor, action, target, detail)

    def _model_of(self, role: str) -> str:
        return self._deployments.status(role).model_id

    def _row(self, model_id: str, downloads: dict, serving: dict[str, tuple[str, ...]]) -> ModelRow:
        return ModelRow(
            model_id=model_id,
            entry=self._models.entry(model_id),
            variant_id=self._models.variant(model_id).id,
            ready=self._models.ready(model_id),
            estimate=self._deployments.estimate(model_id),
            download=downloads.get(model_id),
            serving=serving.get(model_id, ()),
            verified_at=self._models.verified_at(model_id),
        )


def _split(url: str) -> SplitResult:
    """Raises BadInput for what is no address."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadInput(N_("{url} is not the address of a server."), url=url) from error


def _end(act: Act, view: RolloutView, detail: EngineDetail) -> None:
    ended = EngineDetail(
        role=detail.role,
        model=detail.model,
        model_before=detail.model_before,
        deployment_id=view.deployment_id,
        mode=view.mode,
        step=view.step,
        seconds=round(view.elapsed_s, 1),
        settings=detail.settings,
        reason=detail.reason,
    )
    act.end(OUTCOMES[view.step], detail=ended, error=view.error)
