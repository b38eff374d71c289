"""What the gateway says of itself."""

import asyncio
from typing import Literal

from pydantic import BaseModel
from starlette.types import ASGIApp

from archive_gateway.routes.answers import Json
from archive_gateway.routes.desk import Check, Desk
from archive_gateway.routes.visit import Visit

CHECK_S = 2.0


class Health(BaseModel):
    """The truth about the gateway: `checks` names each dependency with what is wrong with it, or null."""

    status: Literal["healthy", "unhealthy"]
    service: Literal["archive-gateway"] = "archive-gateway"
    checks: dict[str, str | None]
    engines: int = 0
    models: int = 0


class Welcome(BaseModel):
    """Where to go from here."""

    service: Literal["archive-gateway"] = "archive-gateway"
    api: str = "/v1"
    documentation: str = "/openapi.json"
    health: str = "/health"


async def health(desk: Desk, visit: Visit) -> ASGIApp:
    """Say whether the gateway can do its work, and with how many engines."""
    checks = await _checks(desk)
    offers = desk.engines.offers()
    engines = sum(member.worker.healthy for member in desk.engines.members())
    return _verdict(checks, engines=engines, models=len(offers))


async def livez(desk: Desk, visit: Visit) -> ASGIApp:
    """Say whether a restart would help."""
    return _verdict({"live": desk.live()})


async def readyz(desk: Desk, visit: Visit) -> ASGIApp:
    """Say whether requests may be sent here."""
    return _verdict(await _checks(desk))


async def welcome(desk: Desk, visit: Visit) -> ASGIApp:
    """Say what this is."""
    return Json(Welcome())


async def _checks(desk: Desk) -> dict[str, str | None]:
    found = await asyncio.gather(*(_ask(check) for check in desk.ready.values()))
    checks = dict(zip(desk.ready, found, strict=True))
    return checks | {"draining": "the gateway is about to stop"} if desk.draining.is_set() else checks


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_S):
            return await check()
    except TimeoutError:
        return f"no answer within {CHECK_S:g} s"


def _verdict(checks: dict[str, str | None], *, engines: int = 0, models: int = 0) -> ASGIApp:
    wrong = any(checks.values())
    body = Health(status="unhealthy" if wrong else "healthy", checks=checks, engines=engines, models=models)
    return Json(body, status=503 if wrong else 200)
