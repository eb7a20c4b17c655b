"""Errors that are safe to show to the person who caused or met them.

PortalError                    message and hint, translatable; everything else that is raised is a bug
├── Denied                     the actor may not do this
├── SignInRefused              wrong name or password, a closed account, or a link that is used up
│   └── TooManyAttempts        wait before the next try
├── NotFound                   what was named does not exist (or is not the actor's to know of)
├── BadInput                   the request itself is wrong
│   └── UnreadableFile         an uploaded file cannot be used
│       ├── UnsupportedFormat  not PDF or DOCX, not a picture, by content
│       ├── FileTooLarge       over the limit, before or after unpacking
│       ├── EmptyFile          nothing in it
│       ├── CorruptFile        damaged or truncated
│       ├── PasswordNeeded     encrypted, and no or the wrong password was given
│       ├── NoTextLayer        a scan: pictures of text
│       ├── GarbageText        a text layer that is not language
│       └── ReadingLimit       the parser ran over its memory, time or output limit
├── StorageFull                no room left on the disk
├── AuditUnavailable           the act cannot be recorded, so it is not done
│   └── AuditKeyMissing        the audit was made with a key that is not here
├── IndexMismatch              the index was made by another embedder
├── IndexInUse                 another process owns the vector index
├── SandboxUnavailable         code cannot be run safely here, or what runs it is not installed
├── ModelFilesError            model files missing, damaged or not to be had
│   ├── FetchFailed
│   │   ├── GatedModel         the hub wants a token, or its terms accepted
│   │   └── FetchInterrupted   paused or cancelled by somebody
│   ├── VerificationFailed
│   ├── ConversionFailed
│   └── UnsafeModel            pickles, code of its own, or paths that lead elsewhere
└── EngineError                the model cannot answer
    ├── EngineNotReady         stopped, starting or stopping
    ├── EngineStartFailed      with the decisive lines of its log
    ├── EngineUnavailable      the engine's program is not installed, or cannot do this here
    ├── DoesNotFit             not enough memory, by the estimate
    ├── RolloutInProgress      somebody is switching models already
    ├── GoldenPromptFailed     ready, but what it answers is not language, or wrong
    ├── EngineDied             in the middle of an answer
    │   └── EngineRetired      it was stopped for another model: the answer begins anew
    ├── EngineTimeout          no token within the limit
    └── ContextTooLong         prompt over the model's window
"""

from __future__ import annotations


class PortalError(Exception):
    """A failure with a message and a hint for the person at the screen.

    `message` and `hint` are gettext msgids, marked with N_() where they are written; `params` fill their
    {placeholders} after translation. str(error) is the English text.
    """

    def __init__(self, message: str, *, hint: str = "", **params: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.params = params

    def __str__(self) -> str:
        return self.message.format(**self.params)

    def to_record(self) -> dict:
        """A JSON-able form for storing with a row; `from_record` is its inverse."""
        params = {k: v if isinstance(v, int | float | str) else str(v) for k, v in self.params.items()}
        return {"kind": type(self).__name__, "message": self.message, "hint": self.hint, "params": params}

    @staticmethod
    def from_record(record: dict) -> PortalError:
        kinds = {cls.__name__: cls for cls in _all_subclasses(PortalError)}
        kind = kinds.get(record["kind"], PortalError)
        return kind(record["message"], hint=record["hint"], **record["params"])


class Denied(PortalError):
    """The actor may not do this."""


class SignInRefused(PortalError):
    """Wrong name or password, a closed account, or a link that is used up: which, is not said."""


class TooManyAttempts(SignInRefused):
    """Wait before the next try."""


class AuditUnavailable(PortalError):
    """The act cannot be recorded, so it is not done."""


class AuditKeyMissing(AuditUnavailable):
    """The audit was made with a key that is not here."""


class NotFound(PortalError):
    """What was named does not exist, or is not the actor's to know of."""


class BadInput(PortalError):
    """The request itself is wrong."""


class UnreadableFile(BadInput):
    """An uploaded file cannot be used."""


class UnsupportedFormat(UnreadableFile):
    """Neither PDF nor DOCX, or not a picture, by content."""


class FileTooLarge(UnreadableFile):
    """Over the limit, before or after unpacking."""


class EmptyFile(UnreadableFile):
    """No bytes, or no text and no picture."""


class CorruptFile(UnreadableFile):
    """Damaged or truncated."""


class PasswordNeeded(UnreadableFile):
    """Encrypted, and no or the wrong password was given."""


class NoTextLayer(UnreadableFile):
    """A scan: pictures of text."""


class GarbageText(UnreadableFile):
    """A text layer that is not language."""


class ReadingLimit(UnreadableFile):
    """The parser ran over its memory, time or output limit."""


class StorageFull(PortalError):
    """No room left on the disk."""


class IndexMismatch(PortalError):
    """The vector index was made by another embedder."""


class IndexInUse(PortalError):
    """Another process owns the vector index."""


class SandboxUnavailable(PortalError):
    """Code cannot be run safely here, or what runs it is not installed."""


class ModelFilesError(PortalError):
    """Model files missing, damaged or not to be had."""


class FetchFailed(ModelFilesError):
    """No source delivered the files."""


class GatedModel(FetchFailed):
    """The hub wants a token, or its terms accepted first."""


class FetchInterrupted(FetchFailed):
    """Paused or cancelled by somebody."""


class UnsafeModel(ModelFilesError):
    """Pickles, code of its own, or paths that lead elsewhere: refused."""


class VerificationFailed(ModelFilesError):
    """A file's SHA-256 is not the pinned one."""


class ConversionFailed(ModelFilesError):
    """GGUF could not be turned into safetensors."""


class EngineError(PortalError):
    """The model cannot answer."""


class EngineNotReady(EngineError):
    """Stopped, starting or stopping."""


class EngineStartFailed(EngineError):
    """The engine ended before it was ready; params['log'] holds the decisive lines."""


class EngineUnavailable(EngineError):
    """The engine's program is not installed, or cannot do what is asked on this machine."""


class DoesNotFit(EngineError):
    """Not enough memory, by the estimate."""


class RolloutInProgress(EngineError):
    """Somebody is switching models already."""


class GoldenPromptFailed(EngineError):
    """The engine is ready, but what it answers is not language, or wrong."""


class EngineDied(EngineError):
    """The engine went away in the middle of an answer."""


class EngineRetired(EngineDied):
    """Stopped for another model: the answer begins anew there."""


class EngineTimeout(EngineError):
    """No token within the limit."""


class ContextTooLong(EngineError):
    """The prompt is over the model's window."""


def _all_subclasses(cls: type) -> list[type]:
    return [cls, *(found for child in cls.__subclasses__() for found in _all_subclasses(child))]
