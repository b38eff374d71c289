"""What a service hands to the edge of its process."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import MappingProxyType

Check = Callable[[], Awaitable[str | None]]
"""Asks one dependency: None when it is fine, else what is wrong, in a few words."""


def _no_complaint() -> str | None:
    return None


def _no_checks() -> Mapping[str, Check]:
    return MappingProxyType({})


def _no_info() -> Mapping[str, object]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class App:
    """One service, wired and not yet started.

    `lifespan` holds everything the service does: entering it starts the work, leaving it drains. A failure of
    its background work must surface in it (an `async with TaskGroup()` around the `yield` does that), since
    that is how the process learns that it has to end.

    `ready` are questions to dependencies (Redis, a group, a model); they steer traffic and may fail for a while.
    `live` says why the service will not recover by itself, e.g. that its consume loop stopped progressing; it
    must not ask a dependency, or an outage of that dependency restarts every process at once.
    `info` is shown by `/health`. `health_port` 0 takes a free port.
    """

    name: str
    lifespan: Callable[[], AbstractAsyncContextManager[None]]
    ready: Mapping[str, Check] = field(default_factory=_no_checks)
    live: Callable[[], str | None] = _no_complaint
    health_host: str = "127.0.0.1"
    health_port: int = 0
    info: Callable[[], Mapping[str, object]] = _no_info
