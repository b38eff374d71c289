"""The engines file: what an operator decided about pools, read again when it changes."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from archive_contracts.chat import Capability
from archive_contracts.engine import Tier
from archive_router.domain.lanes import Lanes, PoolPlan
from archive_router.domain.route import Policy
from archive_router.domain.strategies import DEFAULT_STRATEGY, STRATEGIES, strategy

log = logging.getLogger(__name__)


def _known(name: str) -> str:
    if name not in STRATEGIES:
        raise ValueError(f"no strategy {name!r}; there are {', '.join(STRATEGIES)}")
    return name


class PoolEntry(BaseModel):
    """A pool that may sleep, and what it can do when it wakes."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    models: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ("chat", "completion")
    context: Annotated[int, Field(ge=0)] = 0
    tier: Tier = "balanced"
    tags: tuple[str, ...] = ()
    scale_to_zero: bool = False
    start_s: Annotated[float, Field(ge=0)] = 60.0


class EnginesFile(BaseModel):
    """What the router takes from the file; how to run the engines is read by whoever runs them."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    default: str = ""
    strategy: Annotated[str, AfterValidator(_known)] = DEFAULT_STRATEGY
    pools: dict[str, PoolEntry] = {}

    def plans(self) -> tuple[PoolPlan, ...]:
        """Return the pools as the lanes take them."""
        return tuple(PoolPlan(pool=name, **entry.model_dump()) for name, entry in self.pools.items())


class EnginesFileReader:
    """Reads the file when it has changed; a broken file leaves the last good state in force."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._current = EnginesFile()
        self._used: EnginesFile | None = None

    def __call__(self, lanes: Lanes, policy: Policy) -> Policy:
        """Return the policy that the file asks for, and tell the lanes of pools that may sleep."""
        current = self.current()
        if current is self._used:
            return policy
        self._used = current
        lanes.plan(current.plans())
        return replace(policy, preferred_pool=current.default, strategy=strategy(current.strategy))

    def current(self) -> EnginesFile:
        """Return the newest readable state of the file."""
        look = self._look()
        if look != self._seen:
            self._seen = look
            self._current = self._read() if look else EnginesFile()
        return self._current

    def _look(self) -> tuple[int, int, int] | None:
        """Return what differs when the file does; its time alone is too coarse for two changes in a row."""
        try:
            status = self._path.stat() if self._path else None
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None

    def _read(self) -> EnginesFile:
        assert self._path
        try:
            return EnginesFile.model_validate(yaml.safe_load(self._path.read_text(encoding="utf-8")) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            log.warning("%s cannot be read and is ignored until it changes: %s", self._path, error)
            return self._current
