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
from archive_gateway.routes.table import Endpoint, Face
from archive_gateway.routes.visit import Visit


async def openapi(desk: Desk, visit: Visit) -> ASGIApp:
    """Describe all of this."""
    return Json(_document())


_open = Face("probes", scope=None)
PROBES = (
    _open.get("/health", probes.health, answer=probes.FullHealth),
    _open.get("/livez", probes.livez, answer=probes.Health),
    _open.get("/readyz", probes.readyz, answer=probes.Health),
    _open.get("/", probes.welcome, answer=probes.Welcome),
    _open.get("/openapi.json", openapi),
)

ENDPOINTS: tuple[Endpoint, ...] = (*OPENAI, *COMPAT, *PLATFORM, *PROBES)


@cache
def _document() -> bytes:
    return document(ENDPOINTS, version=version("archive-gateway"))
