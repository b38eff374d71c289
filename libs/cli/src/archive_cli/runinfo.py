"""What `run.json` says: addresses and processes of the running system. Plain dataclasses, quick to import."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast

State = Literal["starting", "ready", "draining"]
ProcessState = Literal["starting", "ready", "waiting", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    """One process of the system; ports are 0 where there is none."""

    name: str
    service: str
    pid: int = 0
    port: int = 0
    health_port: int = 0
    state: ProcessState = "starting"
    restarts: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """The running system. URLs of the servers hold their passwords: the file is for its owner only."""

    version: str
    pid: int
    state: State
    started_at: float
    home: str
    url: str
    bus_url: str
    state_url: str
    blobs_url: str
    console_url: str = ""
    all_in_one: bool = False
    processes: tuple[ProcessInfo, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> "RunInfo | None":
        """Read it back; None when it is not such an object. Fields unknown to this version are ignored."""
        known: dict[str, Any] = {key: value for key, value in found.items() if key in _names(cls)}
        listed = cast("list[dict[str, Any]]", known.get("processes") or [])
        try:
            known["processes"] = tuple(
                ProcessInfo(**{key: value for key, value in item.items() if key in _names(ProcessInfo)})
                for item in listed
            )
            return cls(**known)
        except (TypeError, AttributeError):
            return None


def _names(cls: type[RunInfo | ProcessInfo]) -> set[str]:
    return {field.name for field in fields(cls)}
