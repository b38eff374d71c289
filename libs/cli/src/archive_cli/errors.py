"""What can go wrong for the person at the terminal, and the exit code that says so.

CliError
├── UsageError        2   the command line asks for something impossible
├── NotRunningError   3   nothing answers where the system should be
├── RefusedError      4   the server answered, and said no
├── PortTakenError    5   another program listens on the wanted port
└── StartError        1   a process did not become ready
"""

from typing import ClassVar

EXIT_CODES = """exit codes:
  0   done
  1   failed, wholly or in part, or found nothing
  2   wrong usage
  3   not running, or not reachable
  4   refused by the server
  5   the port is taken by another program
  130 interrupted
"""

USAGE = 2
INTERRUPTED = 130


class CliError(Exception):
    """Something the person can act on: what happened, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str = "failed", next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} ({self.next_step})" if self.next_step else self.message


class UsageError(CliError):
    """The command line asks for something impossible."""

    exit_code = USAGE


class NotRunningError(CliError):
    """Nothing answers where the system should be."""

    exit_code = 3


class RefusedError(CliError):
    """The server answered, and said no; `status` is its HTTP status, 0 when it spoke in a stream."""

    exit_code = 4

    def __init__(self, message: str, *, code: str = "refused", next_step: str = "", status: int = 0) -> None:
        super().__init__(message, code=code, next_step=next_step)
        self.status = status


class PortTakenError(CliError):
    """Another program listens on the wanted port."""

    exit_code = 5


class StartError(CliError):
    """A process did not become ready."""
