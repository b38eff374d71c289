"""What the gateway itself says no to.

GatewayError
├── BadRequest          the request cannot be understood
├── WrongKey            no key, or not ours
├── NotAllowed          the key lacks a scope
├── ForeignPage         a web page of another origin, or a name that is not ours, sent the request
├── NotThere            nothing has that address or id
├── WrongMethod         the address exists, the method does not
├── TooLarge            more bytes than the limit, which the message names
├── TooSlow             the body of the request comes in drips
├── Crowded             as many requests as are allowed are in flight
├── Guarded             a guardrail, which the message names, stops the request
├── LimitReached        the key has used up a limit, which the message names
├── WrongMedia          a body of a kind that the address does not take
├── Unavailable         a server behind the gateway does not answer
├── Leaving             the gateway ends before the answer does
└── StoreFull           the blob store does not take what was sent
"""

from collections.abc import Sequence
from typing import ClassVar

from archive_contracts.base import Problem

Headers = Sequence[tuple[bytes, bytes]]


class GatewayError(Exception):
    """Base of all; `problem()` is what the caller gets to read."""

    code: ClassVar[str] = "gateway_error"
    status: ClassVar[int] = 500
    retry_after_s: ClassVar[float | None] = None

    def __init__(self, message: str, *, next_step: str = "", param: str | None = None, code: str = "") -> None:
        super().__init__(message)
        self._problem = Problem(
            code=code or self.code,
            message=message,
            next_step=next_step,
            status=self.status,
            param=param,
            retry_after_s=self.retry_after_s,
        )

    def problem(self) -> Problem:
        """Return the error as callers read it."""
        return self._problem

    def headers(self) -> Headers:
        """Return the headers that belong to this refusal."""
        return ()


class BadRequest(GatewayError):
    """The request cannot be understood."""

    code = "invalid_request"
    status = 400


class WrongKey(GatewayError):
    """No key, or not ours."""

    code = "invalid_api_key"
    status = 401


class NotAllowed(GatewayError):
    """The key lacks a scope."""

    code = "insufficient_scope"
    status = 403


class ForeignPage(GatewayError):
    """A web page of another origin, or a host name that is not ours, sent the request."""

    code = "forbidden_origin"
    status = 403


class NotThere(GatewayError):
    """Nothing has that address or id."""

    code = "not_found"
    status = 404


class WrongMethod(GatewayError):
    """The address exists, the method does not. `allowed` is for the header of that name."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, *, allowed: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self._allowed = allowed

    def headers(self) -> Headers:
        """Return the methods that are possible."""
        return ((b"allow", self._allowed.encode()),)


class TooLarge(GatewayError):
    """More bytes than the limit."""

    code = "request_too_large"
    status = 413

    def __init__(self, what: str, *, limit: int, setting: str) -> None:
        super().__init__(
            f"{what} is larger than the limit of {round(limit / 2**20, 2):g} MB ({limit} bytes).",
            next_step=f"Send less, or raise {setting}.",
        )


class TooSlow(GatewayError):
    """The body of the request does not come."""

    code = "body_too_slow"
    status = 408

    def headers(self) -> Headers:
        """Return that the connection ends here: what else would come on it is the rest of the body."""
        return ((b"connection", b"close"),)


class Guarded(GatewayError):
    """A guardrail stops the request. ``rule`` is the setting that says how much is allowed."""

    status = 400

    def __init__(self, message: str, *, rule: str, param: str | None = None) -> None:
        super().__init__(
            message, next_step=f"Send less, or raise GATEWAY_{rule.upper()}.", param=param, code=f"{rule}_exceeded"
        )


class Crowded(GatewayError):
    """As many requests as are allowed are in flight."""

    code = "max_concurrent_exceeded"
    status = 429
    retry_after_s = 1.0


class LimitReached(GatewayError):
    """A key has used up one of its limits."""

    code = "rate_limit_exceeded"
    status = 429

    def __init__(self, rule: str, *, limit: int, wait_s: float) -> None:
        super().__init__(
            f"This key has reached its limit {rule} of {limit}.",
            next_step=f"Try again in {wait_s:.1f} s, or ask the operator for a higher limit.",
        )
        self._problem = self._problem.model_copy(update={"retry_after_s": wait_s})


class WrongMedia(GatewayError):
    """A body of a kind that the address does not take."""

    code = "unsupported_media_type"
    status = 415


class Unavailable(GatewayError):
    """A server behind the gateway does not answer."""

    code = "bus_unavailable"
    status = 503
    retry_after_s = 2.0


class Leaving(GatewayError):
    """The gateway ends, and its grace is over before the answer is whole."""

    code = "gateway_leaving"
    status = 503
    retry_after_s = 1.0


class StoreFull(GatewayError):
    """The blob store does not take what was sent."""

    code = "blob_store_down"
    status = 503
    retry_after_s = 5.0
