"""The edge of a service process: its life, logs, traces, metrics and health port."""

from archive_telemetry._app import App, Check
from archive_telemetry._errors import HealthPortError, SettingError, TelemetryError
from archive_telemetry._logs import adopt_loggers, bind_log, configure_logs, get_logger, log_context
from archive_telemetry._metrics import DURATION_BUCKETS_S, counter, gauge, histogram
from archive_telemetry._redaction import REDACTED, Redactor
from archive_telemetry._run import run, run_all
from archive_telemetry._settings import EdgeSettings
from archive_telemetry._start import read_settings, run_service
from archive_telemetry._traces import (
    ServiceTracers,
    configure_traces,
    extract,
    inject,
    service_scope,
    tracer_for,
)

__all__ = [
    "DURATION_BUCKETS_S",
    "REDACTED",
    "App",
    "Check",
    "EdgeSettings",
    "HealthPortError",
    "Redactor",
    "ServiceTracers",
    "SettingError",
    "TelemetryError",
    "adopt_loggers",
    "bind_log",
    "configure_logs",
    "configure_traces",
    "counter",
    "extract",
    "gauge",
    "get_logger",
    "histogram",
    "inject",
    "log_context",
    "read_settings",
    "run",
    "run_all",
    "run_service",
    "service_scope",
    "tracer_for",
]
