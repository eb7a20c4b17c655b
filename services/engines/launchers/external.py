"""An OpenAI-compatible server that somebody else runs: a vLLM cluster on Ray, Ray Serve LLM, another team's engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.engines.launchers.base import LaunchPlan, LaunchRequest
from services.errors import EngineUnavailable
from services.translation import N_


@dataclass(frozen=True)
class Remote:
    """url: the server's, with or without /v1. model: what it calls the model. api_key: "" where it asks for none."""

    url: str
    model: str
    api_key: str = field(default="", repr=False)


class ExternalLauncher:
    """Launches nothing: the plan says where the server is. All of DeploymentSettings is the other side's business."""

    name = "external"
    device = "cpu"  # of no process at all

    def __init__(self, remote: Callable[[str], Remote]) -> None:
        """remote: of a model id; raises NotFound."""
        self._remote = remote

    def version(self) -> str:
        return ""

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        remote = self._remote(request.model_id)
        parts = urlsplit(remote.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise EngineUnavailable(
                N_("The address {url} is not one of an OpenAI-compatible server."),
                hint=N_("It looks like https://models.example.com/v1; the key is given apart from it."),
                url=parts._replace(netloc=parts.hostname or "", query="").geturl(),
            )
        base_url = remote.url.rstrip("/")
        base_url = base_url if base_url.endswith("/v1") else f"{base_url}/v1"
        return LaunchPlan([], {}, served_name=remote.model, base_url=base_url, api_key=remote.api_key)
