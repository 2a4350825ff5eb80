"""Every error that Candide raises on purpose, sorted by who can mend it.

    CandideError                      safe to show: names the thing and the next step
    ├── CallerError                   the caller can mend it (HTTP 4xx, exit code 2)
    │   ├── BadRequest                a parameter is wrong (400, names `param`)
    │   │   ├── ContextTooLong        prompt and answer do not fit the model's context (400)
    │   │   └── UnsupportedContent    the model cannot take this kind of input (400)
    │   ├── NotFound                  no such conversation, message, turn, model, ... (404)
    │   ├── Conflict                  the state does not allow it (409)
    │   ├── NotAllowed                the key, the Host or the Origin does not allow it (401, 403)
    │   └── TooLarge                  the body is larger than the server takes (413)
    ├── EngineError                   an engine failed: another route, or later, may do (5xx)
    │   ├── EngineUnavailable         it cannot be reached, is loading, or answers 5xx (503)
    │   ├── EngineOverloaded          it asks to come back later (429, `retry_after`)
    │   └── EngineBroke               it broke off after the first byte (error frame)
    ├── SourceError                   a file, page or feed cannot be read: it costs that one (422)
    │   ├── UnreadableDocument        it is broken, locked, empty, or of a kind that is not read
    │   └── FetchError                it cannot be fetched, or must not be
    └── SetupError                    who runs Candide can mend it (exit code 1)
        ├── WeightsError              a model file is missing, damaged or cannot be fetched
        ├── StoreError                the database is locked, corrupt, read-only or full
        └── SettingsError             a setting has no sense (exit code 2)

Bugs of our own stay plain exceptions; the server logs them under an id that the user can quote.
This module imports nothing of Candide.
"""

from __future__ import annotations


class CandideError(Exception):
    """Base of all: `message` names the thing, `hint` the next step, `code` is for programs."""

    status = 500
    code = "error"

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class CallerError(CandideError):
    status = 400
    code = "invalid_request"


class BadRequest(CallerError):
    """A parameter is wrong; `param` is its name as the caller wrote it, like `messages.0.role`."""

    def __init__(
        self, message: str, *, param: str | None = None, hint: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.param = param


class ContextTooLong(BadRequest):
    """Prompt and answer exceed the context; `prompt_tokens` and `context_tokens` where known."""

    code = "context_length_exceeded"

    def __init__(
        self,
        message: str,
        *,
        prompt_tokens: int | None = None,
        context_tokens: int | None = None,
        param: str | None = "messages",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, param=param, hint=hint)
        self.prompt_tokens = prompt_tokens
        self.context_tokens = context_tokens


class UnsupportedContent(BadRequest):
    code = "unsupported_content"


class NotFound(CallerError):
    status = 404
    code = "not_found"

    def __init__(
        self, message: str, *, param: str | None = None, hint: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.param = param


class Conflict(CallerError):
    status = 409
    code = "conflict"


class NotAllowed(CallerError):
    status = 403
    code = "not_allowed"

    def __init__(
        self, message: str, *, status: int = 403, hint: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.status = status


class TooLarge(CallerError):
    status = 413
    code = "too_large"


class EngineError(CandideError):
    status = 502
    code = "engine_error"


class EngineUnavailable(EngineError):
    status = 503
    code = "engine_unavailable"


class EngineOverloaded(EngineError):
    """`retry_after` is in seconds."""

    status = 429
    code = "engine_overloaded"

    def __init__(self, message: str, *, retry_after: float = 1.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class EngineBroke(EngineError):
    code = "engine_broke"


class SourceError(CandideError):
    status = 422
    code = "source"


class UnreadableDocument(SourceError):
    code = "unreadable"


class FetchError(SourceError):
    """`is_passing` says whether it may go better later, `retry_after` in how many seconds where the server said so.

    `answered` is the HTTP status, where a server answered at all.
    """

    code = "fetch"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        is_passing: bool = False,
        retry_after: float | None = None,
        answered: int | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.is_passing = is_passing
        self.retry_after = retry_after
        self.answered = answered

    @property
    def is_gone(self) -> bool:
        """Whether the server says that there is no such thing, so that what came from it goes too."""
        return self.answered in (404, 410)


class SetupError(CandideError):
    code = "setup"


class WeightsError(SetupError):
    code = "weights"


class StoreError(SetupError):
    status = 503
    code = "store"


class SettingsError(SetupError):
    code = "settings"
