"""What follows when a call to an engine fails."""

import json
from dataclasses import dataclass
from typing import Any, cast

from archive_contracts.base import Problem
from archive_contracts.engine import GenerateRequested
from archive_engine.domain.errors import UpstreamError, UpstreamStatus

CLIENTS_FAULT = frozenset({400, 401, 403, 404, 405, 409, 413, 415, 422})
"""Statuses that another engine would most likely give as well."""


@dataclass(frozen=True, slots=True)
class PassOn:
    """Another lane may serve the request unnoticed."""

    job: GenerateRequested


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The same lane may serve it a little later, or another of its workers at once."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The caller has to be told."""

    problem: Problem


def after_failure(
    job: GenerateRequested, error: UpstreamError, *, engine: str, attempt: int, attempts: int
) -> PassOn | TryAgain | GiveUp:
    """Decide what follows a failed call."""
    if error.token_seen or _is_clients_fault(error):
        return GiveUp(problem_of(error, engine))
    if job.fallbacks:
        target, *rest = job.fallbacks
        update = {
            "pool": target.pool,
            "model": target.model,
            "fallbacks": tuple(rest),
            "tried": (*job.tried, engine),
        }
        return PassOn(job.model_copy(update=update))
    if attempt < attempts and not _asks_for_patience(error):
        return TryAgain(delay_s=0.25 * 2 ** (attempt - 1))
    return GiveUp(problem_of(error, engine))


def problem_of(error: UpstreamError, engine: str) -> Problem:
    """Return a failed call as it is told to the caller; an engine's own words are kept."""
    if isinstance(error, UpstreamStatus):
        message, code = _words_of(error.body)
        status = error.status if 400 <= error.status <= 599 else 502
        return Problem(
            code=code or error.code,
            message=message or error.message,
            next_step=error.next_step,
            status=status,
            retry_after_s=error.retry_after,
        )
    return Problem(
        code=error.code,
        message=f"The engine {engine!r} failed: {error.message}",
        next_step=error.next_step,
        status=502 if error.token_seen else 503,
        retry_after_s=None if error.token_seen else 2.0,
    )


def _is_clients_fault(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamStatus) and error.status in CLIENTS_FAULT


def _asks_for_patience(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamStatus) and error.status == 429


def _words_of(body: str) -> tuple[str, str]:
    """Return message and code of an OpenAI error body, empty where it is none."""
    try:
        decoded: object = json.loads(body)
    except ValueError:
        return "", ""
    error = cast("dict[str, Any]", decoded).get("error") if isinstance(decoded, dict) else None
    if not isinstance(error, dict):
        return "", ""
    fields = cast("dict[str, Any]", error)
    code = fields.get("code")
    return str(fields.get("message") or ""), code if isinstance(code, str) else ""
