"""What the health port answers."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

from archive_telemetry._app import App, Check
from archive_telemetry._http import Reply
from archive_telemetry._metrics import exposition
from archive_telemetry._redaction import Redactor

Phase = Literal["starting", "running", "draining", "ended"]
_CHECK_S = 2.0


@dataclass(slots=True)
class Running:
    """An app, its label in this process, and how far it has come."""

    app: App
    label: str
    phase: Phase = "starting"


@dataclass(frozen=True, kw_only=True, slots=True)
class Probes:
    """Answers `/livez`, `/readyz`, `/health` and `/metrics` for all apps of the process."""

    name: str
    apps: Sequence[Running]
    redactor: Redactor
    started: float = field(default_factory=time.monotonic)

    def routes(self) -> Mapping[str, Callable[[], Awaitable[Reply]]]:
        """Map each path to its answer."""
        return {"/livez": self.livez, "/readyz": self.readyz, "/health": self.health, "/metrics": self.metrics}

    async def livez(self) -> Reply:
        """Tell whether a restart would help."""
        return self._verdict({entry.label: {"live": self._live(entry)} for entry in self.apps})

    async def readyz(self) -> Reply:
        """Tell whether work may be sent here."""
        return self._verdict(await self._readiness())

    async def health(self) -> Reply:
        """Tell everything an operator asks for first."""
        found = await self._readiness()
        services: dict[str, object] = {
            entry.label: {
                "phase": entry.phase,
                "live": self._live(entry),
                "checks": found[entry.label],
                "info": dict(entry.app.info()),
            }
            for entry in self.apps
        }
        status = _status(found)
        body = {
            "name": self.name,
            "status": _word(status),
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self.started, 3),
            "services": services,
        }
        return self._json(status, body)

    async def metrics(self) -> Reply:
        """Expose the registry of the process."""
        content_type, body = exposition()
        return Reply(status=HTTPStatus.OK, content_type=content_type, body=body)

    def _live(self, entry: Running) -> str | None:
        """A start may be slow and a drain stops its loops: neither is cured by a restart."""
        return entry.app.live() if entry.phase == "running" else None

    async def _readiness(self) -> dict[str, dict[str, str | None]]:
        found = await asyncio.gather(*(self._checks(entry) for entry in self.apps))
        return {entry.label: result for entry, result in zip(self.apps, found, strict=True)}

    async def _checks(self, entry: Running) -> dict[str, str | None]:
        if entry.phase != "running":
            return {"lifespan": entry.phase}
        names = list(entry.app.ready)
        found = await asyncio.gather(*(_ask(entry.app.ready[name]) for name in names))
        return dict(zip(names, found, strict=True))

    def _verdict(self, found: Mapping[str, Mapping[str, str | None]]) -> Reply:
        status = _status(found)
        return self._json(status, {"status": _word(status), "services": found})

    def _json(self, status: HTTPStatus, body: Mapping[str, object]) -> Reply:
        clean = {key: self.redactor.field(key, value) for key, value in body.items()}
        return Reply(
            status=status, content_type="application/json", body=json.dumps(clean, default=str).encode() + b"\n"
        )


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_S):
            return await check()
    except TimeoutError:
        return f"no answer within {_CHECK_S:g} s"
    except Exception as error:  # noqa: BLE001 - a probe reports any failure of what it asks, and never fails itself
        return f"{type(error).__name__}: {error}"


def _status(found: Mapping[str, Mapping[str, str | None]]) -> HTTPStatus:
    wrong = any(reason is not None for checks in found.values() for reason in checks.values())
    return HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK


def _word(status: HTTPStatus) -> str:
    return "ok" if status is HTTPStatus.OK else "unavailable"
