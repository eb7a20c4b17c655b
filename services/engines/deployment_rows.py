"""Deployments in the database: what was ordered, which one serves a role, and what each start took."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from sqlalchemy import func, select, update

from db.database import Database
from db.engine_tables import Deployment, EngineStart, RoleAlias
from db.tables import utc_now
from services.engines.options import DeploymentSettings, Spec
from services.engines.views import DeploymentView
from services.errors import NotFound, PortalError
from services.permissions import Actor
from services.translation import N_

GUESS_S = 90.0
REMEMBERED = 5
GOOD = ("serving", "retired", "stopped")  # outcomes of deployments that became ready and answered well


@dataclass(frozen=True)
class StartReport:
    """What is known of one start of an engine; fields as in db.engine_tables.EngineStart."""

    launcher: str
    ready: bool
    duration_s: float
    reason: str = ""
    command: tuple[str, ...] = ()
    environment: dict[str, str] | None = None
    engine_version: str = ""
    device: str = ""
    predicted_mib: float | None = None
    measured_mib: float | None = None


class DeploymentRows:
    """Thread-safe: every call is a short session of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        model_id: str,
        model_name: str,
        settings: DeploymentSettings,
        *,
        roles: tuple[str, ...],
        reason: str,
        by: Actor,
        estimate: dict | None = None,
    ) -> Spec:
        row = Deployment(
            model_id=model_id,
            model_name=model_name,
            settings=settings.model_dump(mode="json"),
            roles=list(roles),
            reason=reason,
            created_by=by.id,
            created_by_name=by.name,
            estimate=estimate,
        )
        with self._database.session() as session:
            session.add(row)
            session.flush()
            return Spec(row.id, model_id, model_name, settings)

    def spec(self, deployment_id: int) -> Spec:
        """Raises NotFound."""
        with self._database.session() as session:
            row = session.get(Deployment, deployment_id)
        if row is None:
            raise NotFound(N_("There is no deployment {id}."), id=deployment_id)
        return Spec(row.id, row.model_id, row.model_name, DeploymentSettings.model_validate(row.settings))

    def note_ready(self, deployment_id: int) -> None:
        """It became ready for the first time."""
        self._change(deployment_id, Deployment.ready_at.is_(None), ready_at=utc_now())

    def note_serving(self, deployment_id: int) -> None:
        self._change(deployment_id, outcome="serving", ended_at=None, error=None)

    def note_end(self, deployment_id: int, outcome: str, error: PortalError | None = None) -> None:
        """It is over. outcome: retired, stopped, failed, rolled_back, cancelled."""
        record = error.to_record() if error else None
        self._change(deployment_id, outcome=outcome, error=record, ended_at=utc_now())

    def note_interrupted(self, error: PortalError) -> None:
        """Of candidates whose portal was killed nobody ever said what came of them; replaced ones have served well."""
        with self._database.session() as session:
            aliased = select(RoleAlias.deployment_id)
            left = update(Deployment).where(Deployment.outcome == "", Deployment.id.not_in(aliased))
            session.execute(left.values(outcome="failed", error=error.to_record(), ended_at=utc_now()))
            replaced = update(Deployment).where(Deployment.outcome == "serving", Deployment.id.not_in(aliased))
            session.execute(replaced.values(outcome="retired", ended_at=utc_now()))

    def outcome(self, deployment_id: int) -> str:
        with self._database.session() as session:
            return session.scalar(select(Deployment.outcome).where(Deployment.id == deployment_id)) or ""

    def aliases(self) -> dict[str, int]:
        """Deployment ids by role."""
        with self._database.session() as session:
            return {row.role: row.deployment_id for row in session.scalars(select(RoleAlias))}

    def point(self, roles: tuple[str, ...], deployment_id: int) -> None:
        """These roles are answered by the deployment from now on: all of them or none."""
        with self._database.session(writing=True) as session:
            for role in roles:
                session.merge(RoleAlias(role=role, deployment_id=deployment_id))

    def history(self, limit: int) -> list[DeploymentView]:
        """Newest first."""
        newest = select(Deployment).order_by(Deployment.id.desc()).limit(limit)
        with self._database.session() as session:
            rows = list(session.scalars(newest))
            starts = _last_starts(session, [row.id for row in rows])
        return [_view(row, starts.get(row.id)) for row in rows]

    def view(self, deployment_id: int) -> DeploymentView:
        """Raises NotFound."""
        with self._database.session() as session:
            row = session.get(Deployment, deployment_id)
            starts = _last_starts(session, [deployment_id])
        if row is None:
            raise NotFound(N_("There is no deployment {id}."), id=deployment_id)
        return _view(row, starts.get(deployment_id))

    def last_good(self, role: str, *, not_like: int | None) -> DeploymentView | None:
        """The newest deployment that served the role well, with another model or other settings than not_like's."""
        served = select(Deployment).where(Deployment.ready_at.is_not(None), Deployment.outcome.in_(GOOD))
        with self._database.session() as session:
            now = session.get(Deployment, not_like) if not_like is not None else None
            for row in session.scalars(served.order_by(Deployment.ready_at.desc())):
                same = now is not None and (row.model_id, row.settings) == (now.model_id, now.settings)
                if role in row.roles and row.id != not_like and not same:
                    return _view(row, _last_starts(session, [row.id]).get(row.id))
        return None

    def record_start(self, spec: Spec, report: StartReport) -> int:
        """The row's id."""
        row = EngineStart(
            deployment_id=spec.id,
            model_id=spec.model_id,
            launcher=report.launcher,
            ready=report.ready,
            duration_s=report.duration_s,
            reason=report.reason,
            command=list(report.command),
            environment=report.environment,
            engine_version=report.engine_version,
            device=report.device,
            context_tokens=spec.settings.context_tokens,
            max_num_seqs=spec.settings.max_num_seqs,
            predicted_mib=report.predicted_mib,
            measured_mib=report.measured_mib,
        )
        with self._database.session() as session:
            session.add(row)
            session.flush()
            return row.id

    def note_memory(self, start_id: int, measured_mib: float) -> None:
        """What the start's engine takes; the most that was seen is kept."""
        seen = func.max(func.coalesce(EngineStart.measured_mib, 0.0), measured_mib)
        with self._database.session() as session:
            session.execute(update(EngineStart).where(EngineStart.id == start_id).values(measured_mib=seen))

    def typical_start_s(self, model_id: str) -> float:
        """Median of the model's last five starts that became ready; a guess before the first."""
        newest = (
            select(EngineStart.duration_s)
            .where(EngineStart.model_id == model_id, EngineStart.ready)
            .order_by(EngineStart.id.desc())
            .limit(REMEMBERED)
        )
        with self._database.session() as session:
            durations = session.scalars(newest).all()
        return median(durations) if durations else GUESS_S

    def _change(self, deployment_id: int, *conditions, **values: object) -> None:
        with self._database.session() as session:
            session.execute(update(Deployment).where(Deployment.id == deployment_id, *conditions).values(**values))


def _last_starts(session, deployment_ids: list[int]) -> dict[int, EngineStart]:
    starts = select(EngineStart).where(EngineStart.deployment_id.in_(deployment_ids)).order_by(EngineStart.id)
    return {start.deployment_id: start for start in session.scalars(starts)}


def _view(row: Deployment, start: EngineStart | None) -> DeploymentView:
    return DeploymentView(
        id=row.id,
        model_id=row.model_id,
        model_name=row.model_name,
        settings=DeploymentSettings.model_validate(row.settings),
        roles=tuple(row.roles),
        reason=row.reason,
        created_by_name=row.created_by_name,
        created_at=row.created_at,
        ready_at=row.ready_at,
        ended_at=row.ended_at,
        outcome=row.outcome,
        error=PortalError.from_record(row.error) if row.error else None,
        load_s=start.duration_s if start and start.ready else None,
        command=tuple(start.command or ()) if start else (),
        environment=(start.environment or {}) if start else {},
        engine_version=(start.engine_version or "") if start else "",
        predicted_mib=start.predicted_mib if start else (row.estimate or {}).get("predicted_mib"),
        measured_mib=start.measured_mib if start else None,
    )
