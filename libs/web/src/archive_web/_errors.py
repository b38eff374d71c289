"""What can be wrong with the body of a request.

WebError
├── BodyTooLarge    more bytes than the limit
└── BodyTooSlow     it comes in drips
"""

from typing import ClassVar


class WebError(Exception):
    """Base of all. `code` is stable and for programs, `message` says what happened, `next_step` what to do."""

    code: ClassVar[str] = "web_error"

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class BodyTooLarge(WebError):
    """More bytes than the limit, which is in bytes."""

    code = "request_too_large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than the limit of {limit} bytes.", next_step="Send less.")
        self.limit = limit


class BodyTooSlow(WebError):
    """The body does not come."""

    code = "body_too_slow"
