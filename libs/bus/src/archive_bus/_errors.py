"""What can go wrong on the bus, and what a handler says when a message cannot be handled.

* BusError
  * BusUnavailable
    * Busy
  * BadServer
    * BadAddress
    * WrongPassword
    * ServerTooOld
    * EvictingServer
    * NotDurable
  * NotInMap
  * PayloadError
    * Oversize
    * Undecodable
    * UnknownType
      * UnknownVersion
  * RequestTimeout
    * DeadlineExpired
  * RequestFailed
  * WrongAnswer
  * WrongReturn
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


class BadServer(BusError):
    """A server cannot be used as it is; waiting does not help."""

    code = "bad_server"
    next_step = "See the README of archive_bus for what a server has to offer."


class BadAddress(BadServer):
    """A URL is no address of a server."""

    code = "bad_address"
    next_step = "Write redis://HOST:PORT/0, rediss://HOST:PORT/0 or sentinel://HOST:PORT,HOST:PORT/MASTER."


class WrongPassword(BadServer):
    """The server does not take the name and password of the URL."""

    code = "wrong_password"
    next_step = (
        "Put the right credential into ARCHIVE_BUS_URL and ARCHIVE_STATE_URL: redis://NAME:PASSWORD@HOST:PORT/0."
    )


class ServerTooOld(BadServer):
    """The server lacks commands that the bus is built on."""

    code = "server_too_old"
    next_step = "Run Valkey 7.2 or newer, or Redis 7.0 or newer."


class EvictingServer(BadServer):
    """The server drops messages when its memory is full."""

    code = "evicting_server"
    next_step = "Set maxmemory-policy noeviction on the server."


class NotDurable(BadServer):
    """The server keeps less than the durability that was asked for."""

    code = "not_durable"
    next_step = (
        "Set appendonly yes and appendfsync always, or connect a replica, as the message says; or ask for less with "
        "?durability=memory in the URL."
    )


class NotInMap(BusError):
    """A message was published to, or subscribed on, a stream whose entry in the map does not allow it."""

    code = "not_in_map"
    next_step = "Add the message type to the stream in archive_contracts.streams."


class PayloadError(BusError):
    """A message cannot travel: too large without a blob store, a blob that cannot be read, or text that is none."""

    code = "payload_error"
    next_step = "Configure a blob store (ARCHIVE_BLOBS_URL), or send less."


class Oversize(PayloadError):
    """A message is larger than an entry holds, and there is no blob store to put it into."""

    code = "oversize"


class Undecodable(PayloadError):
    """Bytes are no envelope, or the data is not what its type demands."""

    code = "undecodable"
    next_step = "Compare the entry with the schema of its type; 'archive dead list' shows the field that is wrong."


class UnknownType(PayloadError):
    """No message of this type is known here, or its stream does not carry it."""

    code = "unknown_type"
    next_step = "Correct the type, or update this service to a version whose contracts know it."


class UnknownVersion(UnknownType):
    """The message is known here in another major version alone."""

    code = "unknown_version"
    next_step = "Update this service, or let the sender publish a version that is known here."


class RequestTimeout(BusError):
    """Nobody answered before the deadline."""

    code = "request_timeout"
    next_step = "Check with 'archive status' that the service is running and its stream has no lag, then try again."

    def problem(self) -> Problem:
        """Return the error as it is told to callers."""
        return Problem(code=self.code, message=str(self), next_step=self.next_step, status=504, retry_after_s=2.0)


class DeadlineExpired(RequestTimeout):
    """The deadline had passed before the message could be published or its handling begun."""

    code = "deadline_exceeded"
    next_step = "Try again; if it happens often, add replicas of the service or raise the deadline."


class WrongAnswer(BusError):
    """The reply is not of the type that the caller asked for, or cannot be read."""

    code = "wrong_answer"
    next_step = "Bring caller and service to the same version of the contracts."


class WrongReturn(BusError):
    """A handler returned a value, and nobody would ever see it."""

    code = "wrong_return"
    next_step = "Answer with 'await delivery.reply(...)' or 'delivery.emit(...)' and return nothing."


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
