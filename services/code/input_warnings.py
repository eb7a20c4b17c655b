"""What a person should know about the code they gave: keys and passwords in it, and licences that bind."""

from __future__ import annotations

import re

from services.errors import PortalError
from services.translation import N_

SECRETS = {
    "private key": r"-----BEGIN (?:RSA |EC |DSA |OPENSSH |PGP )?PRIVATE KEY",
    "AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})",
    "GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "Alibaba Cloud key": r"\bLTAI[A-Za-z0-9]{12,24}\b",
    "Tencent Cloud key": r"\bAKID[A-Za-z0-9]{13,40}\b",
    "API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "JSON web token": r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10,}",
    "password in an address": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"]{1,100}:[^\s/@'\"]{3,100}@",
    "password": r"(?i)\b(?:password|passwd|pwd|secret|api_?key|access_?key|token)\b[\"']?\s*[:=]\s*"
    r"[\"'](?!\$?\{|<|\*|x{3})[^\"'\s]{6,}[\"']",
}
LICENCES = {
    "AGPL": r"(?i)GNU AFFERO GENERAL PUBLIC LICENSE|\bAGPL-3",
    "GPL": r"(?i)GNU GENERAL PUBLIC LICENSE|SPDX-License-Identifier:\s*GPL",
    "LGPL": r"(?i)GNU LESSER GENERAL PUBLIC LICENSE|SPDX-License-Identifier:\s*LGPL",
    "all rights reserved": r"(?i)all rights reserved|版权所有|保留所有权利",
    "confidential": r"(?i)\b(?:strictly |company )?confidential\b|\bproprietary\b|内部资料|机密",
}


def warnings_for(*texts: str) -> list[dict]:
    """PortalError records, one for each kind found; what was found is not repeated, only its line in its text."""
    found: dict[str, PortalError] = {}
    for text in texts:
        for kind, match in _matches(SECRETS, text):
            found.setdefault(kind, _secret(kind, text[: match.start()].count("\n") + 1))
        for kind, _match in _matches(LICENCES, text):
            found.setdefault(kind, _licence(kind))
    return [error.to_record() for error in found.values()]


def _matches(patterns: dict[str, str], text: str) -> list[tuple[str, re.Match]]:
    found = [(kind, re.search(pattern, text)) for kind, pattern in patterns.items()]
    return [(kind, match) for kind, match in found if match]


def _secret(kind: str, line: int) -> PortalError:
    return PortalError(
        N_("Line {line} looks like a secret ({kind})."),
        hint=N_("It is kept with this conversation. If it is real, delete the conversation and change the secret."),
        kind=kind,
        line=line,
    )


def _licence(kind: str) -> PortalError:
    return PortalError(
        N_("The code bears a licence or notice ({kind})."),
        hint=N_("Check that you may change it and pass it on; what is made from it is bound by it, too."),
        kind=kind,
    )
