"""The environment variables the edge of a process understands."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archive_telemetry._errors import SettingError

LogFormat = Literal["auto", "json", "text"]
_LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeSettings:
    """How a process logs, drains and reports its port.

    `grace_s` is in seconds. `trace_export` and `metric_export` tell whether an OTLP endpoint is configured for them.
    """

    grace_s: float = 20.0
    log_format: LogFormat = "auto"
    log_level: str = "info"
    ready_file: Path | None = None
    trace_export: bool = False
    metric_export: bool = False

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "EdgeSettings":
        """Read `ARCHIVE_GRACE_S`, `ARCHIVE_LOG_FORMAT`, `ARCHIVE_LOG_LEVEL`, `ARCHIVE_READY_FILE`, `OTEL_*`.

        Raises SettingError naming the variable and what it takes.
        """
        source = os.environ if env is None else env
        ready_file = source.get("ARCHIVE_READY_FILE", "")
        return cls(
            grace_s=_grace(source.get("ARCHIVE_GRACE_S", "20")),
            log_format=_log_format(source.get("ARCHIVE_LOG_FORMAT", "auto").lower()),
            log_level=_log_level(source.get("ARCHIVE_LOG_LEVEL", "info").lower()),
            ready_file=Path(ready_file) if ready_file else None,
            trace_export=_exports(source, "TRACES"),
            metric_export=_exports(source, "METRICS"),
        )


def _grace(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 86_400:
        raise SettingError(f"ARCHIVE_GRACE_S is {value!r}", next_step="set it to a number of seconds from 0 to 86400")
    return seconds


def _log_format(value: str) -> LogFormat:
    if value in ("auto", "json", "text"):
        return value
    raise SettingError(f"ARCHIVE_LOG_FORMAT is {value!r}", next_step="set it to auto, json or text")


def _log_level(value: str) -> str:
    if value in _LEVELS:
        return value
    raise SettingError(f"ARCHIVE_LOG_LEVEL is {value!r}", next_step=f"set it to one of {', '.join(_LEVELS)}")


def _exports(env: Mapping[str, str], signal: str) -> bool:
    """Without an endpoint nobody would receive a signal, so none is recorded."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if env.get(f"OTEL_{signal}_EXPORTER", "otlp").strip().lower() == "none":
        return False
    return bool(env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or env.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
