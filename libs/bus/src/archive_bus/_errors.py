"""What can go wrong on the bus, and what a handler says when a message cannot be handled.

* BusError
  * BusUnavailable
    * Busy
  * NotInMap
  * PayloadError
  * RequestTimeout
  * RequestFailed
  * JournalConflict
  * NoSuchLog
  * LeaseLost
* Verdict
  * Retry
  * Reject
"""

from archive_contracts.base import Problem


class BusError(Exception):
    """Anything the bus raises."""

    code = "bus_error"
    next_step = "See the log of the service for the cause."

    def problem(self) -> Problem:
        """Return the error as it is told to callers."""
        return Problem(code=self.code, message=str(self), next_step=self.next_step, status=500)


class BusUnavailable(BusError):
    """The server did not answer in the time that the caller gave."""

    code = "bus_unavailable"
    next_step = "Check that the Redis or Valkey server runs and is reachable; nothing that was accepted is lost."

    def problem(self) -> Problem:
        """Return the error as it is told to callers."""
        return Problem(code=self.code, message=str(self), next_step=self.next_step, status=503, retry_after_s=2.0)


class Busy(BusUnavailable):
    """There is no room for more: too much of the stream is unhandled, or the server's memory is nearly full."""

    code = "busy"
    next_step = (
        "Try again later. 'archive streams' shows which group is behind: add replicas of its service, or, when nobody "
        "serves the group any more, drop it with 'archive groups drop'."
    )


class NotInMap(BusError):
    """A message was published to, or subscribed on, a stream whose entry in the map does not allow it."""

    code = "not_in_map"
    next_step = "Add the message type to the stream in archive_contracts.streams."


class PayloadError(BusError):
    """A message cannot travel: too large without a blob store, a blob that cannot be read, or text that is none."""

    code = "payload_error"
    next_step = "Configure a blob store (ARCHIVE_BLOBS_URL), or send less."


class RequestTimeout(BusError):
    """Nobody answered before the deadline."""

    code = "request_timeout"
    next_step = "Check with 'archive status' that the service is running and its stream has no lag, then try again."

    def problem(self) -> Problem:
        """Return the error as it is told to callers."""
        return Problem(code=self.code, message=str(self), next_step=self.next_step, status=504, retry_after_s=2.0)


class RequestFailed(BusError):
    """The service that handled the request answered with a problem."""

    code = "request_failed"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self._problem = problem

    def problem(self) -> Problem:
        """Return what the service answered."""
        return self._problem


class JournalConflict(BusError):
    """A journal is not as long as its writer believed: another process has written."""

    code = "journal_conflict"
    next_step = "Read the journal again and decide anew."

    def __init__(self, journal: str, *, expected: int, found: int) -> None:
        super().__init__(f"journal {journal} has {found} entries where {expected} were expected")
        self.expected = expected
        self.found = found


class NoSuchLog(BusError):
    """The answer that somebody wants to resume is not kept: too old, of another tenant, or lost with the server."""

    code = "no_such_log"
    next_step = "Send the request again; answers are kept for ten minutes after their end."

    def problem(self) -> Problem:
        """Return the error as it is told to callers."""
        return Problem(code=self.code, message=str(self), next_step=self.next_step, status=404)


class LeaseLost(BusError):
    """Another process has taken over the message that a handler works on; what it publishes is refused."""

    code = "lease_lost"
    next_step = "Nothing to do: the message is handled by its new owner. If it happens often, raise the stream's lease."


class Verdict(Exception):
    """Raised by a handler to settle its message other than by acknowledging it."""


class Retry(Verdict):
    """Try again later, after a delay of any length. Counts as an attempt."""

    def __init__(self, why: str, *, delay_s: float | None = None) -> None:
        super().__init__(why)
        self.delay_s = delay_s


class Reject(Verdict):
    """Never try again: to the dead letters, and the problem to whoever waits for a reply."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
