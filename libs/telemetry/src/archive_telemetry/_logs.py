"""Structured logs: ours and those of every library, through one chain."""

import logging
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TextIO, cast

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from archive_telemetry._redaction import Redactor
from archive_telemetry._settings import EdgeSettings


@contextmanager
def _without_rich() -> Generator[None]:
    """Import structlog as if rich were absent.

    structlog takes rich for tracebacks wherever it is installed: 7 MB and 200 ms in every process of a machine
    that also has the command installed, for tracebacks that are written as plain text here.
    """
    if "rich" in sys.modules or "structlog" in sys.modules:
        yield
        return
    blocked = cast("dict[str, object]", sys.modules)
    blocked["rich"] = None
    try:
        yield
    finally:
        del blocked["rich"]


with _without_rich():
    import structlog

from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402 - after the guarded import

_CONTEXT: ContextVar[Mapping[str, str]] = ContextVar("archive_log_context", default=MappingProxyType({}))
_QUIET = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "asyncio": logging.WARNING}


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module: `get_logger(__name__).info("stored", chunks=12)`.

    The event is a constant phrase, everything that varies is a field: that is what makes logs searchable.
    """
    return structlog.stdlib.get_logger(name)


@contextmanager
def log_context(**fields: str) -> Generator[None]:
    """Add fields (`correlation`, `message_id`, `tenant`) to every line logged inside, in this task and its children."""
    before = _CONTEXT.get()
    bind_log(**fields)
    try:
        yield
    finally:
        _CONTEXT.set(before)


def bind_log(**fields: str) -> None:
    """Add fields to every line logged from here on, in a context of its own as each message has one."""
    # One variable for all of them, not structlog's one each: this is done for every message, a line is written seldom.
    _CONTEXT.set({**_CONTEXT.get(), **fields})


def configure_logs(settings: EdgeSettings, redactor: Redactor, *, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's loggers to one stream (standard error unless told).

    Coloured text on a terminal, one JSON object a line elsewhere; `ARCHIVE_LOG_FORMAT` overrides.
    """
    target = stream or sys.stderr
    text = settings.log_format == "text" or (settings.log_format == "auto" and target.isatty())
    shared: list[Processor] = [
        _add_context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _Redaction(redactor),
            _renderer(text=text, colours=target.isatty()),
        ],
    )
    _lead_to(target, formatter, level=settings.log_level.upper())


def _lead_to(target: TextIO, formatter: logging.Formatter, *, level: str) -> None:
    """Have every logger of the process write to one stream, and those quieter that tell each request."""
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    logging.captureWarnings(capture=True)
    adopt_loggers()


def adopt_loggers() -> None:
    """Take the handlers away that libraries gave their loggers, so that their lines pass through ours.

    uvicorn, FastStream and others install handlers when they start, which is after our configuration; call it
    again once they run.
    """
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.handlers:
            logger.handlers[:] = [held for held in logger.handlers if type(held) is not logging.StreamHandler]
            logger.propagate = True


class _Redaction:
    """The last step before rendering, so that nothing added on the way escapes it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: self._redactor.field(key, value) for key, value in event.items()}


def _renderer(*, text: bool, colours: bool) -> Processor:
    if text:
        return structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def _add_context(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {**_CONTEXT.get(), **event}


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    span = get_current_span().get_span_context()
    if span.is_valid:
        event["trace_id"] = format_trace_id(span.trace_id)
        event["span_id"] = format_span_id(span.span_id)
    return event
