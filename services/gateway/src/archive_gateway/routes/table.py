"""How a route is declared: once, for the server and for the OpenAPI document."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict, Unpack

from pydantic import BaseModel
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from archive_contracts.keys import KeyScope
from archive_gateway.domain.errors import NotThere, WrongMethod
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.visit import Visit

Handler = Callable[[Desk, Visit], Awaitable[ASGIApp]]
Method = Literal["GET", "POST", "DELETE"]


class Details(TypedDict, total=False):
    """What an endpoint may have beside its address and its handler."""

    body: type[BaseModel]
    upload: type[BaseModel]
    query: type[BaseModel]
    answer: type[BaseModel]
    several: type[BaseModel]
    events: Mapping[str, type[BaseModel]]
    headers: Mapping[str, str]
    status: int
    errors: tuple[int, ...]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path.

    ``answer`` is the JSON body of success, ``events`` the payloads of server-sent events by their names (the empty
    name for events without one), ``errors`` the statuses that this route answers beside those every route can.
    ``scope`` is what a key needs for it, None for what every key may.
    """

    method: Method
    path: str
    handler: Handler
    tag: str
    body: type[BaseModel] | None = None
    upload: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    several: type[BaseModel] | None = None
    events: Mapping[str, type[BaseModel]] = field(default_factory=dict[str, type[BaseModel]])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    status: int = 200
    scope: KeyScope | None = "platform"
    errors: tuple[int, ...] = ()
    description: str = ""

    @property
    def operation(self) -> str:
        """The operation's id: the name of its handler."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """What the handler says of itself."""
        first = (self.handler.__doc__ or "").partition("\n")[0]
        return first.rstrip(".").replace("``", "`")


@dataclass(frozen=True, slots=True)
class Face:
    """Endpoints with a tag and a scope in common."""

    tag: str
    scope: KeyScope | None = "platform"

    def get(self, path: str, handler: Handler, **details: Unpack[Details]) -> Endpoint:
        """Return what answers GET."""
        return Endpoint(method="GET", path=path, handler=handler, tag=self.tag, scope=self.scope, **details)

    def post(self, path: str, handler: Handler, **details: Unpack[Details]) -> Endpoint:
        """Return what answers POST."""
        return Endpoint(method="POST", path=path, handler=handler, tag=self.tag, scope=self.scope, **details)

    def delete(self, path: str, handler: Handler, **details: Unpack[Details]) -> Endpoint:
        """Return what answers DELETE."""
        return Endpoint(method="DELETE", path=path, handler=handler, tag=self.tag, scope=self.scope, **details)


def build_router(endpoints: Sequence[Endpoint], desk: Desk) -> ASGIApp:
    """Return what sends a request to its endpoint."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return _Paths([Route(path, endpoint=_Path(desk, methods)) for path, methods in paths.items()])


class _Paths:
    """Finds the route of a path: one without parameters by a look into a table, the others by Starlette's router."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._plain = {route.path: route for route in routes if not route.param_convertors}
        others = [route for route in routes if route.param_convertors]
        self._router = Router(routes=others, redirect_slashes=False, default=_nowhere)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        route = self._plain.get(scope["path"])
        if route is None:
            return self._router(scope, receive, send)
        scope["route"], scope["path_params"] = route, {}
        return route.app(scope, receive, send)


class _Path:
    """The methods of one path."""

    def __init__(self, desk: Desk, methods: Mapping[str, Endpoint]) -> None:
        self._desk = desk
        self._methods = dict(methods)
        if (found := methods.get("GET")) and not found.events:
            self._methods["HEAD"] = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._methods.get(scope["method"])
        if endpoint is None:
            allowed = ", ".join(sorted(self._methods))
            raise WrongMethod(f"{scope['method']} is not possible here.", allowed=allowed, next_step=f"Use {allowed}.")
        visit = Visit(scope, receive, body_limit=self._desk.limits.body)
        if endpoint.scope is not None:
            visit.ticket.caller.demand(endpoint.scope)
        answer = await endpoint.handler(self._desk, visit)
        await answer(scope, receive, send)


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotThere(
        f"There is nothing at {scope['path'][:200]!r}.",
        next_step="See /openapi.json for what there is.",
    )
