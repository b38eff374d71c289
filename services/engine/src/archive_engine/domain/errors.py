"""What can go wrong between the worker and a model.

EngineError
|-- ModelMissing            the built-in model's files are absent or damaged
|-- KeyMissing              an engine's key is not where it should be
|-- BadTokens               an array of tokens that are none of the model's
|-- BadDimensions           longer vectors than the model makes
`-- UpstreamError           a call to a model server failed
    |-- UpstreamRefused     no connection: down, or not listening yet
    |-- UpstreamStatus      it answered with an error, by status or inside the stream
    |-- UpstreamStalled     it fell silent for longer than the idle limit
    |-- UpstreamCut         the connection ended before the answer did
    |-- UpstreamMalformed   its answer is none
    `-- EngineResting       it was not called: its breaker is open, or its minute is used up
"""

from __future__ import annotations


class EngineError(Exception):
    """What happened and what to do about it."""

    code = "engine_error"

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}"


class ModelMissing(EngineError):
    """The built-in model cannot be loaded from this installation."""

    code = "model_missing"


class KeyMissing(EngineError):
    """The key of an engine cannot be read."""

    code = "key_missing"


class BadTokens(EngineError):
    """A request gives tokens that the model's vocabulary does not have."""

    code = "invalid_tokens"


class BadDimensions(EngineError):
    """A request asks for longer vectors than the model makes."""

    code = "invalid_dimensions"


class UpstreamError(EngineError):
    """A call to a model server failed.

    `token_seen` decides what may follow: before the first token another engine can answer unnoticed, after it the
    caller already holds part of this answer.
    """

    code = "upstream_error"

    def __init__(self, message: str, *, next_step: str, token_seen: bool = False) -> None:
        super().__init__(message, next_step=next_step)
        self.token_seen = token_seen


class UpstreamRefused(UpstreamError):
    """No connection could be made."""

    code = "upstream_refused"


class UpstreamStatus(UpstreamError):
    """The server answered with an error status, or sent an error object inside a stream it had begun.

    `body` is what it sent, to be passed on; `retry_after` is in seconds, where it gave one. An error inside a
    stream has the status its `code` names, else 502.
    """

    code = "upstream_status"

    def __init__(
        self, message: str, *, status: int, body: str, retry_after: float | None = None, token_seen: bool = False
    ) -> None:
        step = "Wait before asking again." if status in {429, 503} else "See the engine's own message and log."
        super().__init__(message, next_step=step, token_seen=token_seen)
        self.status = status
        self.body = body
        self.retry_after = retry_after


class UpstreamStalled(UpstreamError):
    """Nothing came for longer than the idle limit."""

    code = "upstream_stalled"


class UpstreamCut(UpstreamError):
    """The connection closed, or the stream ended without saying that it was complete."""

    code = "upstream_cut"


class UpstreamMalformed(UpstreamError):
    """A success whose body is not what was asked for."""

    code = "upstream_malformed"


class EngineResting(UpstreamError):
    """The engine is left alone for a while; ``rest_s`` more seconds. ``status`` is what the caller is told."""

    code = "engine_resting"

    def __init__(self, message: str, *, rest_s: float, status: int = 503) -> None:
        super().__init__(message, next_step="Wait as told, or add another engine that serves the model.")
        self.rest_s = rest_s
        self.status = status
