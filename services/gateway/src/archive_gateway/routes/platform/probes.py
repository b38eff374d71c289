"""What the gateway says of itself."""

import asyncio
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal

from pydantic import BaseModel
from starlette.types import ASGIApp

from archive_gateway.routes.answers import Json
from archive_gateway.routes.desk import Check, Desk
from archive_gateway.routes.visit import Visit

CHECK_S = 2.0
LATER = ((b"retry-after", b"2"),)
"""In seconds, beside every 503."""


class Health(BaseModel):
    """The truth about the gateway: `checks` names each dependency with what is wrong with it, or null."""

    status: Literal["healthy", "unhealthy"]
    service: Literal["archive-gateway"] = "archive-gateway"
    checks: dict[str, str | None]
    engines: int = 0
    models: int = 0


class AsyncMemory(BaseModel):
    """How memory listens, in the original's words."""

    enabled: bool = True
    start_from_latest: bool = False
    last_id: str
    stream_length: int


class FullHealth(Health):
    """The same with what the originals' pages read: version and time, the first engine, and how memory listens."""

    version: str
    timestamp: str
    vorpal_url: str = ""
    vorpal_model: str = ""
    async_memory: AsyncMemory | None = None


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
    healthy = [member.worker for member in desk.engines.members() if member.worker.healthy]
    first = next((worker for worker in healthy if "chat" in worker.capabilities), None)
    activity = await desk.figures.activity()
    body = FullHealth(
        status=_word(checks),
        checks=checks,
        version=version("archive-gateway"),
        timestamp=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        engines=len(healthy),
        models=len(offers),
        vorpal_url=first.base_url if first else "",
        vorpal_model=first.models[0].id if first and first.models else "",
        async_memory=AsyncMemory(last_id=activity.last_id, stream_length=activity.length) if activity else None,
    )
    return _told(body)


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


def _verdict(checks: dict[str, str | None]) -> ASGIApp:
    return _told(Health(status=_word(checks), checks=checks))


def _told(body: Health) -> ASGIApp:
    wrong = body.status == "unhealthy"
    return Json(body, status=503 if wrong else 200, headers=LATER if wrong else ())


def _word(checks: dict[str, str | None]) -> Literal["healthy", "unhealthy"]:
    return "unhealthy" if any(checks.values()) else "healthy"
