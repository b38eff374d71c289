"""A request as the routes see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.types import Receive, Scope

from archive_bus import Origin
from archive_gateway.domain.caller import Caller
from archive_gateway.domain.errors import BadRequest, Headers, NotThere, WrongMedia
from archive_gateway.domain.identity import is_id
from archive_gateway.routes.connection import whole

M = TypeVar("M", bound=BaseModel)

TICKET = "archive.ticket"
MOST_FIELDS = 100
"""Parameters of an address."""

NOBODY = Caller(key="", tenant="", scopes=frozenset())


@dataclass(slots=True, kw_only=True)
class Ticket:
    """What the door wrote down about a request. ``began`` is on the clock of ``time.perf_counter``.

    ``id`` may be the client's own word; ``mark`` is ours, so that no two requests share it. ``caller`` is known once
    the guard has let the request in, ``limits`` says what is left to it once the request has been counted.
    """

    id: str
    mark: str
    began: float
    headers: dict[bytes, bytes]
    caller: Caller = NOBODY
    traceparent: str = ""
    tracestate: str = ""
    limits: Headers = ()

    @property
    def tenant(self) -> str:
        """Whose the request is."""
        return self.caller.tenant


class Visit:
    """One request: its ticket, its path and query, its body."""

    __slots__ = ("_body", "body_limit", "receive", "scope", "ticket")

    def __init__(self, scope: Scope, receive: Receive, *, body_limit: int) -> None:
        self.scope = scope
        self.receive = receive
        self.body_limit = body_limit
        self._body: bytes | None = None
        self.ticket: Ticket = scope[TICKET]

    @property
    def origin(self) -> Origin:
        """Where messages that this request causes come from."""
        ticket = self.ticket
        return Origin(
            tenant=ticket.tenant,
            correlation=ticket.id,
            traceparent=ticket.traceparent,
            tracestate=ticket.tracestate,
        )

    def header(self, name: bytes) -> str:
        """Return a header by its lower-case name, or nothing."""
        return self.ticket.headers.get(name, b"").decode("latin-1")

    def part(self, name: str) -> str:
        """Return a parameter of the path."""
        return self.scope["path_params"][name]

    def id_of(self, name: str, what: str) -> str:
        """Return a parameter of the path that is an id.

        Raises:
            NotThere: it cannot be one, so nothing has it.
        """
        text = self.part(name)
        if not is_id(text):
            raise NotThere(f"There is no {what} {text[:100]!r}.")
        return text

    def query(self, model: type[M]) -> M:
        """Return the query string as a model. Raises BadRequest."""
        text = self.scope["query_string"].decode("latin-1")
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError:
            raise BadRequest(
                f"The address has more than {MOST_FIELDS} parameters.", next_step="Send fewer.", code="invalid_value"
            ) from None
        try:
            return model.model_validate(dict(pairs))
        except ValidationError as error:
            raise _refusal(error) from None

    async def raw(self) -> bytes:
        """Return the body. Raises WrongMedia, TooLarge, ClientLeft."""
        if self._body is None:
            if self.header(b"content-encoding").lower() not in {"", "identity"}:
                raise WrongMedia("Packed bodies are not read.", next_step="Send the body without content-encoding.")
            announced = self.ticket.headers.get(b"content-length")
            self._body = await whole(self.scope, self.receive, limit=self.body_limit, announced=announced)
        return self._body

    async def body(self, model: type[M]) -> M:
        """Return the body as a model. Raises BadRequest, TooLarge, ClientLeft."""
        return parse(await self.raw(), model)


def parse(raw: bytes, model: type[M]) -> M:
    """Read JSON into a model.

    Raises:
        BadRequest: it is no JSON, or not what the model says; names the field.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _refusal(error) from None


def _telling(found: Sequence[ErrorDetails]) -> ErrorDetails:
    """Return the error that says most of the first field at fault: a union has one for each of its members.

    The member that was meant is the one whose types were right, else the one that was understood furthest.
    """
    field = found[0]["loc"][:1]
    meant = [error for error in found if error["loc"][:1] == field]
    return max(meant, key=lambda error: (not error["type"].endswith(("_type", "_parsing")), len(error["loc"])))


def _refusal(error: ValidationError) -> BadRequest:
    first = _telling(error.errors(include_url=False, include_input=False))
    if first["type"] == "json_invalid":
        why = first["msg"].removeprefix("Invalid JSON: ")
        return BadRequest(f"The body is not valid JSON: {why}.", next_step="Send a JSON object.", code="invalid_json")
    # Members of a union and validators show up in the path too; clients know fields only.
    where = ".".join(str(part) for part in first["loc"] if part != "str" and "[" not in str(part))
    problem = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return BadRequest(f"The field {where!r} is missing.", next_step="Send it.", param=where, code="missing_field")
    return BadRequest(
        f"The field {where!r} cannot be used: {problem}." if where else f"The body cannot be used: {problem}.",
        next_step="See /openapi.json for what is expected.",
        param=where or None,
        code="invalid_value",
    )
