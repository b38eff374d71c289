"""What can go wrong between the worker and a model.

    EngineError
    |-- ModelMissing            the built-in model's files are absent or damaged
    `-- UpstreamError           a call to a model server failed
        |-- UpstreamRefused     no connection: down, or not listening yet
        |-- UpstreamStatus      it answered with an error status
        |-- UpstreamStalled     it fell silent for longer than the idle limit
        |-- UpstreamCut         the connection or the stream ended before the answer did
        `-- UpstreamMalformed   it answered 200 with something that is no answer
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
