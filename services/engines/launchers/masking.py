"""What of a launch may be kept and shown: its command and environment without secrets."""

from __future__ import annotations

import re

from services.engines.launchers.base import LaunchPlan

MASK = "•••"
_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)


def masked(plan: LaunchPlan) -> tuple[list[str], dict[str, str]]:
    """By name: a variable called like a secret is one. The key is also masked wherever else it should stand."""
    secrets = [plan.api_key, *(value for name, value in plan.environment.items() if _is_secret(name))]
    secrets = [secret for secret in secrets if secret]
    command = [_without(argument, secrets) for argument in plan.command]
    environment = {name: _without(value, secrets) for name, value in plan.environment.items()}
    return command, environment


def _is_secret(name: str) -> bool:
    """TOKENIZERS_PARALLELISM and the like are none."""
    return bool(_SECRET.search(name)) and "TOKENIZER" not in name.upper()


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text
