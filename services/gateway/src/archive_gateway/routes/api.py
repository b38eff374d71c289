"""The table of everything the gateway answers. The server and the OpenAPI document are both built from it."""

from functools import cache
from importlib.metadata import version

from starlette.types import ASGIApp

from archive_gateway.routes.answers import Json
from archive_gateway.routes.compat.endpoints import COMPAT
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.openai.endpoints import OPENAI
from archive_gateway.routes.openapi import document
from archive_gateway.routes.platform import probes
from archive_gateway.routes.platform.endpoints import PLATFORM
from archive_gateway.routes.table import Endpoint
from archive_gateway.routes.visit import Visit


async def openapi(desk: Desk, visit: Visit) -> ASGIApp:
    """Return this description."""
    return Json(_document())


PROBES = (
    Endpoint(
        method="GET",
        path="/health",
        handler=probes.health,
        summary="Say whether the gateway can do its work",
        tag="probes",
        scope=None,
        answer=probes.FullHealth,
    ),
    Endpoint(
        method="GET",
        path="/livez",
        handler=probes.livez,
        summary="Say whether a restart would help",
        tag="probes",
        scope=None,
        answer=probes.Health,
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=probes.readyz,
        summary="Say whether requests may be sent here",
        tag="probes",
        scope=None,
        answer=probes.Health,
    ),
    Endpoint(
        method="GET",
        path="/",
        handler=probes.welcome,
        summary="Say what this is",
        tag="probes",
        scope=None,
        answer=probes.Welcome,
    ),
    Endpoint(
        method="GET", path="/openapi.json", handler=openapi, summary="Describe all of this", tag="probes", scope=None
    ),
)

ENDPOINTS: tuple[Endpoint, ...] = (*OPENAI, *COMPAT, *PLATFORM, *PROBES)


@cache
def _document() -> bytes:
    return document(ENDPOINTS, version=version("archive-gateway"))
