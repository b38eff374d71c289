"""What the console itself says no to.

ConsoleError
├── BadForm         a form that cannot be understood
├── NotThere        nothing has that address or id
├── NotLoggedIn     a key exists and the session does not hold it
├── Refused         a foreign page, a foreign name or a stale form sent the request
├── TooLarge        more bytes than the limit
├── TooSlow         what is sent comes in drips
└── Away            a server or a service behind the page does not answer
"""

from typing import ClassVar

from archive_contracts.base import Problem


class ConsoleError(Exception):
    """Base of all; ``problem`` is what the person gets to read."""

    code: ClassVar[str] = "console_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(code=self.code, message=message, next_step=next_step, status=self.status)


class BadForm(ConsoleError):
    """A form that cannot be understood."""

    code = "bad_form"
    status = 400


class NotThere(ConsoleError):
    """Nothing has that address or id."""

    code = "not_found"
    status = 404


class NotLoggedIn(ConsoleError):
    """A key exists, and this session does not hold it."""

    code = "not_logged_in"
    status = 401


class Refused(ConsoleError):
    """A foreign page, a foreign host name, or a form of an older session."""

    code = "refused"
    status = 403


class TooLarge(ConsoleError):
    """More bytes than the limit."""

    code = "too_large"
    status = 413


class TooSlow(ConsoleError):
    """What is sent comes in drips."""

    code = "too_slow"
    status = 408


class Away(ConsoleError):
    """A server or a service behind the page does not answer."""

    code = "away"
    status = 503
