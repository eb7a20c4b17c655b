"""The operator's commands about models and engines, as functions from JSON to JSON (see services.operations)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import ValidationError

from services.engines.options import DeploymentSettings
from services.errors import BadInput, ModelFilesError
from services.permissions import CONSOLE
from services.translation import N_

if TYPE_CHECKING:
    from services.bootstrap import Services
    from services.engines.downloads import DownloadView
    from services.engines.memory import Estimate
    from services.engines.views import RoleView, RolloutView
    from services.model_operations import ModelRow

ROLE = "chat"


class EngineOperations:
    def __init__(self, services: Services) -> None:
        self._services = services
        self.by_name = {
            "engine_status": self.engine_status,
            "engine_start": self.engine_start,
            "engine_stop": self.engine_stop,
            "engine_switch": self.engine_switch,
            "engine_logs": self.engine_logs,
            "models_list": self.models_list,
            "models_fetch": self.models_fetch,
            "models_downloads": self.models_downloads,
            "models_estimate": self.models_estimate,
            "models_verify": self.models_verify,
            "models_remove": self.models_remove,
            "models_add": self.models_add,
            "models_export": self.models_export,
            "models_import": self.models_import,
        }

    def engine_status(self) -> dict:
        """Every role with its deployment, and the rollout that is going on or was the last."""
        models = self._services.model_operations
        rollout = models.rollout(CONSOLE)
        return {
            "roles": {view.role: _role(view) for view in models.roles(CONSOLE)},
            "rollout": _rollout(rollout) if rollout else None,
        }

    def engine_start(
        self, model_id: str | None = None, role: str = ROLE, wait: bool = True, **settings: object
    ) -> dict:
        """Serve the role with the model (None: what it points at), and wait until that is so or has failed.

        settings: of services.engines.options.DeploymentSettings, where they differ from the model's defaults.
        """
        models, deployments = self._services.model_operations, self._services.deployments
        if model_id is None or (deployments.status(role).model_id == model_id and not settings):
            models.start(role, CONSOLE)
        else:
            models.switch(role, model_id, self._deployment_settings(model_id, settings), CONSOLE)
        if wait:
            deployments.wait_rollout(self._services.settings.engine_start_timeout_s)
            deployments.wait_ready(role, self._services.settings.engine_start_timeout_s)
        return self.engine_status()

    def engine_switch(self, role: str, model_id: str, anyway: bool = False, **settings: object) -> dict:
        """Order a rollout and return at once: engine_status tells how it goes."""
        chosen = self._deployment_settings(model_id, settings)
        self._services.model_operations.switch(role, model_id, chosen, CONSOLE, anyway=anyway)
        return self.engine_status()

    def engine_stop(self, role: str = ROLE) -> dict:
        self._services.model_operations.stop(role, CONSOLE)
        return self.engine_status()

    def engine_logs(self, role: str = ROLE, lines: int = 200) -> dict:
        return {"lines": self._services.deployments.log_tail(role, lines)}

    def models_list(self) -> dict:
        return {"models": [_model(row) for row in self._services.model_operations.catalogue(CONSOLE)]}

    def models_fetch(self, model_id: str) -> dict:
        """Begin, and return at once: models_downloads tells how it goes."""
        self._services.model_operations.fetch(model_id, CONSOLE)
        return self.models_downloads()

    def models_downloads(self) -> dict:
        return {"downloads": [_download(view) for view in self._services.model_operations.downloads(CONSOLE)]}

    def models_estimate(self, model_id: str, **settings: object) -> dict:
        """Does it fit? With the model's default settings, and those given."""
        chosen = self._deployment_settings(model_id, settings)
        models = self._services.model_operations
        with suppress(ModelFilesError):  # without the hub, by the catalogue's numbers
            models.consult_hub(model_id, CONSOLE)
        plan = models.plan(self._a_role_of(model_id), model_id, chosen, CONSOLE)
        variants = [asdict(one) for one in plan.alternatives]
        return {"id": model_id, "settings": chosen.model_dump(mode="json"), **_estimate(plan.estimate)} | (
            {"variants_that_fit": variants} if variants else {}
        )

    def models_verify(self, model_id: str) -> dict:
        self._services.model_operations.verify(model_id, CONSOLE)
        return {"id": model_id, "verified": True}

    def models_remove(self, model_id: str) -> dict:
        self._services.model_operations.remove(model_id, CONSOLE)
        return {"id": model_id, "removed": True}

    def models_add(self, source: str, name: str = "", roles: list[str] | None = None, **where: str) -> dict:
        """source: huggingface, modelscope (where: repo, revision), folder (path), external (url, model, api_key)."""
        models, chosen = self._services.model_operations, roles or [ROLE]
        if source == "folder":
            return {"id": models.add_from_folder(where["path"], name, chosen, CONSOLE)}
        if source == "external":
            key = where.get("api_key", "")
            return {
                "id": models.add_external(name, where["url"], CONSOLE, model=where["model"], api_key=key, roles=chosen)
            }
        return {"id": models.add_from_hub(source, where["repo"], where.get("revision", ""), chosen, CONSOLE)}

    def models_export(self, model_id: str, folder: str) -> dict:
        return {"id": model_id, "file": str(self._services.model_operations.export_bundle(model_id, CONSOLE, folder))}

    def models_import(self, path: str) -> dict:
        return {"id": self._services.model_operations.import_bundle(path, CONSOLE)}

    def _deployment_settings(self, model_id: str, changes: dict[str, object]) -> DeploymentSettings:
        """The model's defaults with these changes; those that are None are none. Raises BadInput naming a wrong one."""
        defaults = self._services.model_operations.settings_for(model_id, CONSOLE)
        wanted = {name: value for name, value in changes.items() if value is not None}
        try:
            return DeploymentSettings.model_validate(defaults.model_dump() | wanted)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise BadInput(N_("The setting {name} is wrong: {why}"), name=name, why=first["msg"]) from error

    def _a_role_of(self, model_id: str) -> str:
        return self._services.models.entry(model_id).roles[0]


def _role(view: RoleView) -> dict:
    status, deployment = view.status, view.deployment
    sample = asdict(view.sample) | {"at": view.sample.at.isoformat()} if view.sample else None
    record = {name: value for name, value in asdict(status).items() if name != "error"}
    return record | {
        "state": str(status.state),
        "error": status.error.to_record() if status.error else None,
        "settings": deployment.settings.model_dump(mode="json") if deployment else None,
        "shared_with": list(view.shared_with),
        "uptime_s": view.uptime_s,
        "queued": view.queued,
        "running": view.running,
        "sample": sample,
    }


def _rollout(view: RolloutView) -> dict:
    changed = {
        "step": str(view.step),
        "mode": str(view.mode),
        "started_at": view.started_at.isoformat(),
        "error": view.error.to_record() if view.error else None,
    }
    return asdict(view) | changed


def _model(row: ModelRow) -> dict:
    entry = row.entry
    return {
        "id": row.model_id,
        "name": entry.name,
        "roles": list(entry.roles),
        "ready": row.ready,
        "licence": entry.licence.spdx,
        "commercial": entry.licence.commercial,
        "serving": list(row.serving),
    } | _estimate(row.estimate)


def _estimate(estimate: Estimate | None) -> dict:
    """fits None: cannot be told."""
    if estimate is None:
        return {"fits": None}
    numbers = {name: round(getattr(estimate, name), 1) for name in ("needed_mib", "available_mib", "spare_mib")}
    parts = {name: round(value, 1) for name, value in estimate.parts_mib.items()}
    suggestions = [
        {"settings": s.settings.model_dump(mode="json"), "needed_mib": round(s.needed_mib, 1)}
        | {"words": s.message.format(**s.params)}
        for s in estimate.suggestions
    ]
    return {"fits": estimate.fits, "device": estimate.device, **numbers, "parts_mib": parts} | (
        {"suggestions": suggestions} if suggestions else {}
    )


def _download(view: DownloadView) -> dict:
    changed = {"started_at": view.started_at.isoformat(), "error": view.error.to_record() if view.error else None}
    return asdict(view) | changed
