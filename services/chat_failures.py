"""What can go wrong with an answer, in words for the person who asked."""

from __future__ import annotations

import re

from services.errors import (
    ContextTooLong,
    EngineDied,
    EngineError,
    EngineNotReady,
    EngineRetired,
    EngineTimeout,
    ModelFilesError,
)
from services.translation import N_

_BUSY = N_("It may be busy with other questions; ask again, or ask for less.")
_TOO_LONG = re.compile(
    r"maximum context length|maximum model length|max_model_len"
    r"|exceeds the available context size"  # llama-server
)
_LIMIT = re.compile(r"maximum context length is (\d+) tokens")  # its count of ours is cut off at one more than that


def rejected(detail: str) -> EngineError:
    """The engine's answer to a bad request, in vLLM's words (vllm/renderers/params.py): mostly a prompt too long."""
    if not _TOO_LONG.search(detail):
        return refused(detail)
    hint = N_("Ask a shorter question, or begin a new conversation.")
    limit = _LIMIT.search(detail)
    if limit is None:
        return ContextTooLong(N_("The question with its passages is too long for the model."), hint=hint)
    return ContextTooLong(
        N_("The question with its passages is too long for the model, which takes {limit} tokens at most."),
        hint=hint,
        limit=int(limit[1]),
    )


def refused(detail: str) -> EngineError:
    return EngineError(
        N_("The model's engine refused the request: {detail}"),
        hint=N_("Tell an administrator: the portal and the engine do not fit together."),
        detail=detail,
    )


def not_answering() -> EngineNotReady:
    """Before the answer began."""
    return EngineNotReady(
        N_("The model does not answer at the moment; the portal is looking after it."),
        hint=N_("Ask again in a minute."),
    )


def died() -> EngineDied:
    return EngineDied(
        N_("The model stopped in the middle of the answer."),
        hint=N_("The portal starts it again. Ask again when it is ready."),
    )


def retired() -> EngineRetired:
    return EngineRetired(
        N_("The model was replaced by another one in the middle of the answer."), hint=N_("Ask again.")
    )


def took_too_long() -> EngineTimeout:
    return EngineTimeout(N_("The model took too long to answer."), hint=_BUSY)


def too_slow(limit_s: float, *, waiting: bool) -> EngineTimeout:
    """waiting: for the first token; else for the end of the answer."""
    if waiting:
        return EngineTimeout(N_("The model did not begin to answer within {limit:.0f} s."), hint=_BUSY, limit=limit_s)
    return EngineTimeout(N_("The answer was not complete after {limit:.0f} s."), hint=_BUSY, limit=limit_s)


def no_tokenizer(model_id: str) -> ModelFilesError:
    return ModelFilesError(
        N_("The model {id} has no tokenizer.json."),
        hint=N_("Remove the model and fetch it again: cli.py models remove {id}; cli.py models fetch {id}"),
        id=model_id,
    )
