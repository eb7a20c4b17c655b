"""Before a switch: does the model fit, beside the one that serves or in its place, and what would that mean?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from services.engines.memory import Estimate
from services.engines.observer import MemoryOf
from services.engines.options import DeploymentSettings, Spec
from services.engines.supervisor import Equipment
from services.engines.views import Alternative, Mode, RolloutPlan
from services.errors import BadInput, DoesNotFit, ModelFilesError, PortalError
from services.translation import N_

if TYPE_CHECKING:
    from services.engines.posts import Post

STOPPING_S = 2.0  # what a drained engine takes to end, about

# model id, settings, MiB that would be given back first → estimate; None when no process here takes memory for it
EstimateOf = Callable[[str, DeploymentSettings, float], Estimate | None]


class Planner:
    def __init__(self, equipment: Equipment, estimate: EstimateOf, memory_of: MemoryOf) -> None:
        self._equipment = equipment
        self._settings = equipment.settings
        self._models = equipment.models
        self._estimate = estimate
        self._memory_of = memory_of

    def plan(
        self,
        role: str,
        model_id: str,
        settings: DeploymentSettings,
        *,
        roles: Mapping[str, Spec],
        running: Sequence[Post],
    ) -> RolloutPlan:
        """roles: what each role points at now; running: of these deployments those that serve, or would if asked."""
        entry, spec = self._models.entry(model_id), roles.get(role)
        old = next((post for post in running if post.spec == spec), None)
        others = [post.spec for post in running if post is not old and post.runs]
        shares = next((s for s in others if (s.model_id, s.settings) == (model_id, settings)), None)
        mode, estimate = (Mode.SHARED, None) if shares else self._mode(model_id, settings, old)
        moved = self._moved(role, roles, old, mode)
        refusal = self._refusal(role, entry, model_id, settings) or self._others_refuse(entry, moved)
        alternatives: tuple[Alternative, ...] = ()
        if refusal is None and estimate is not None and not estimate.fits and mode is not Mode.SHARED:
            refusal = _does_not_fit(entry.name, estimate)
            alternatives = self._alternatives(model_id)
        typical_s = self._equipment.rows.typical_start_s(model_id)
        return RolloutPlan(
            role=role,
            roles=moved,
            model_id=model_id,
            model_name=entry.name,
            settings=settings,
            mode=mode,
            estimate=estimate,
            replaces=old.spec.model_name if old else "",
            typical_start_s=typical_s,
            shares=shares,
            unserved_s=typical_s + STOPPING_S if mode in (Mode.IN_PLACE, Mode.FIRST) else 0.0,
            refusal=refusal,
            alternatives=alternatives,
            old_stays_for=tuple(r for r, s in roles.items() if old and s == old.spec and r not in moved),
        )

    def estimate(self, model_id: str, settings: DeploymentSettings) -> Estimate | None:
        """Against what is free now."""
        return self._estimate(model_id, settings, 0.0)

    def require_room(self, spec: Spec) -> None:
        """Raises DoesNotFit: another model may have taken the memory since it ran."""
        estimate = self._estimate(spec.model_id, spec.settings, 0.0)
        if estimate is not None and not estimate.fits:
            raise _does_not_fit(spec.model_name, estimate)

    def may_be_overruled(self, plan: RolloutPlan) -> bool:
        """An estimate may be wrong; everything else is not a matter of opinion."""
        return isinstance(plan.refusal, DoesNotFit)

    def default_settings(self, model_id: str) -> DeploymentSettings:
        settings, entry = self._settings, self._models.entry(model_id)
        return DeploymentSettings(
            engine=self._models.variant(model_id).engines[0],
            context_tokens=min(settings.engine_context_tokens, entry.context_tokens),
            max_num_seqs=settings.engine_max_num_seqs,
            kv_cache_gib=settings.engine_kv_cache_gib,
            gpu_memory_utilization=settings.engine_gpu_memory_utilization,
        )

    def _alternatives(self, model_id: str) -> tuple[Alternative, ...]:
        """Other variants of the model that would fit with their default settings, the largest first."""
        found = []
        for other in self._models.variants_of(model_id):
            if other != model_id and (estimate := self._told(other)) is not None and estimate.fits:
                found.append(Alternative(other, estimate.needed_mib, self._models.ready(other)))
        return tuple(sorted(found, key=lambda one: -one.needed_mib))

    def _told(self, model_id: str) -> Estimate | None:
        """None where it cannot be told."""
        try:
            self._equipment.launcher_for(model_id, settings := self.default_settings(model_id))
            return self._estimate(model_id, settings, 0.0)
        except PortalError:
            return None

    def _mode(self, model_id: str, settings: DeploymentSettings, old: Post | None) -> tuple[Mode, Estimate | None]:
        estimate = self._estimate(model_id, settings, 0.0)
        if old is None:
            return Mode.FIRST, estimate
        if old.desk.idle:  # it takes no memory; whoever asks meanwhile shall wait, not wake it
            return Mode.IN_PLACE, estimate
        if estimate is None or estimate.fits:
            return Mode.BESIDE, estimate
        return Mode.IN_PLACE, self._estimate(model_id, settings, self._freed_mib(model_id, settings, old))

    def _freed_mib(self, model_id: str, settings: DeploymentSettings, old: Post) -> float:
        """What the old engine's end gives back where the new one computes."""
        try:
            device = self._equipment.launcher_for(model_id, settings).device
        except PortalError:
            return 0.0
        if device != old.observer.device:
            return 0.0
        return self._memory_of(old.members(), device) or 0.0

    def _moved(self, role: str, roles: Mapping[str, Spec], old: Post | None, mode: Mode) -> tuple[str, ...]:
        """In place, the other roles of the deployment that has to stop move along."""
        if mode is not Mode.IN_PLACE or old is None:
            return (role,)
        return tuple(name for name, spec in roles.items() if spec == old.spec)

    def _refusal(self, role: str, entry, model_id: str, settings: DeploymentSettings) -> PortalError | None:
        if role not in entry.roles:
            return BadInput(
                N_("The model {name} is not made for {role}."),
                hint=N_("It can do: {roles}"),
                name=entry.name,
                role=role,
                roles=", ".join(entry.roles),
            )
        if not self._models.ready(model_id):
            return ModelFilesError(
                N_("The model {name} is not on this machine."),
                hint=N_("Fetch it first: cli.py models fetch {id}"),
                name=entry.name,
                id=model_id,
            )
        try:
            self._equipment.launcher_for(model_id, settings)
        except PortalError as error:
            return error
        return None

    def _others_refuse(self, entry, moved: tuple[str, ...]) -> PortalError | None:
        lacking = [role for role in moved if role not in entry.roles]
        if not lacking:
            return None
        return BadInput(
            N_("There is room for one model only, and {name} cannot take over {roles}, which the present one serves."),
            hint=N_("Stop the present model first, or choose one that can do both."),
            name=entry.name,
            roles=", ".join(lacking),
        )


def _does_not_fit(name: str, estimate: Estimate) -> DoesNotFit:
    return DoesNotFit(
        N_("{name} needs {needed:.1f} GiB of memory, and {available:.1f} GiB are free: {short:.1f} GiB are short."),
        hint=N_("Choose a shorter context, fewer requests at a time, or a smaller variant."),
        name=name,
        needed=estimate.needed_mib / 1024,
        available=estimate.available_mib / 1024,
        short=-estimate.spare_mib / 1024,
    )
