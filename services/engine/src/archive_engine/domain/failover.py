"""What follows when a call to an engine fails."""

import json
from dataclasses import dataclass
from typing import Any, cast

from archive_contracts.base import Problem, Spent
from archive_contracts.engine import GenerateRequested, Resumption
from archive_engine.domain.errors import EngineResting, UpstreamError, UpstreamStatus

CLIENTS_FAULT = frozenset({400, 404, 405, 409, 413, 415, 422})
"""Statuses that another engine would most likely give as well."""
OUR_KEYS_FAULT = frozenset({401, 403})
"""The engine refuses the key that the operator gave it; the client's own key has nothing to do with it."""
MOST_CALLS = 5
"""Calls to engines that one request may cost."""
FIRST_DELAY_S = 0.25
LEAST_LEFT_S = 0.5
"""Seconds before the deadline from which on no new call is worth it."""


@dataclass(frozen=True, slots=True)
class PassOn:
    """Another lane, or another worker of this one, may serve the request unnoticed."""

    job: GenerateRequested


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The same lane may serve it a little later, or another of its workers at once."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The caller has to be told."""

    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a call failed.

    ``left_s`` is the time until the request's deadline, None without one; ``retry`` whether the lane may be asked
    again (attempts and budget); ``chance`` is drawn from [0, 1); ``resumption`` is what the caller has already, when
    another engine could go on from there; ``spent`` what that cost.
    """

    engine: str
    instance: str
    worker: str
    attempt: int = 1
    retry: bool = True
    left_s: float | None = None
    chance: float = 0.0
    resumption: Resumption | None = None
    spent: Spent | None = None


def after_failure(job: GenerateRequested, error: UpstreamError, scene: Scene) -> PassOn | TryAgain | GiveUp:
    """Decide what follows a failed call."""
    problem = problem_of(error, scene.engine)
    if error.token_seen:
        return _after_tokens(job, problem, scene)
    if _is_clients_fault(error):
        return GiveUp(problem)
    busy = problem if problem.status == 429 else job.refused
    final = GiveUp(busy or problem)
    calls = job.calls + scene.attempt
    if calls >= MOST_CALLS or (scene.left_s is not None and scene.left_s < LEAST_LEFT_S):
        return final
    passed = _passed(job.model_copy(update={"calls": calls, "refused": busy}), scene)
    if passed:
        return PassOn(passed)
    delay = FIRST_DELAY_S * 2 ** (scene.attempt - 1) * (0.5 + scene.chance)
    if scene.retry and not _asks_for_patience(error) and (scene.left_s is None or delay + LEAST_LEFT_S < scene.left_s):
        return TryAgain(delay_s=delay)
    return final


def _after_tokens(job: GenerateRequested, problem: Problem, scene: Scene) -> PassOn | GiveUp:
    told = problem.model_copy(update={"spent": scene.spent})
    calls = job.calls + scene.attempt
    if not job.request.continuation or scene.resumption is None or calls >= MOST_CALLS:
        return GiveUp(told)
    going_on = job.model_copy(update={"calls": calls, "resumption": scene.resumption})
    # Where no other engine is, this one may have recovered, or another worker of the lane may take it.
    return PassOn(_passed(going_on, scene) or going_on.model_copy(update={"worker": "", "directed_until": 0}))


def _passed(job: GenerateRequested, scene: Scene) -> GenerateRequested | None:
    """Return the job for the next engine that has not failed it yet."""
    tried = (*job.tried, scene.instance)
    left = [
        target
        for target in job.fallbacks
        if target.worker != scene.worker and not (target.instance and target.instance in tried)
    ]
    if not left:
        return None
    target, *rest = left
    update = {
        "pool": target.pool,
        "model": target.model,
        "worker": target.worker,
        "directed_until": 0,
        "fallbacks": tuple(rest),
        "tried": tried,
    }
    return job.model_copy(update=update)


def is_final(error: UpstreamError) -> bool:
    """Whether the same engine would say the same to the same request now."""
    return _is_clients_fault(error) or _asks_for_patience(error)


def problem_of(error: UpstreamError, engine: str) -> Problem:
    """Return a failed call as it is told to the caller; an engine's own words are kept."""
    return _told(error, engine).model_copy(update={"engine": engine})


def _told(error: UpstreamError, engine: str) -> Problem:
    if isinstance(error, EngineResting):
        return Problem(
            code=error.code,
            message=error.message,
            next_step=error.next_step,
            status=error.status,
            retry_after_s=round(error.rest_s, 3),
        )
    if isinstance(error, UpstreamStatus) and error.status not in OUR_KEYS_FAULT:
        message, code = _words_of(error.body)
        status = error.status if 400 <= error.status <= 599 else 502
        return Problem(
            code=code or error.code,
            message=message or error.message,
            next_step=error.next_step,
            status=status,
            retry_after_s=error.retry_after,
        )
    broken = error.token_seen or isinstance(error, UpstreamStatus)
    return Problem(
        code=error.code,
        message=f"The engine {engine!r} failed: {error.message}",
        next_step="Check the key that the engine was added with." if _is_keys_fault(error) else error.next_step,
        status=502 if broken else 503,
        retry_after_s=None if broken else 2.0,
    )


def counts_against(error: UpstreamError, *, first: bool = True) -> bool:
    """Whether the failure says something of the engine; ``first`` is whether the request failed for the first time.

    Some servers answer 500 to a request that they cannot read, and whoever sends one must not take the engine from all
    others: of a request that fails again, a status counts only with the wish to be left alone.
    """
    if _is_clients_fault(error) or isinstance(error, EngineResting):
        return False
    return first or not isinstance(error, UpstreamStatus) or asked_rest_s(error) is not None


def asked_rest_s(error: UpstreamError) -> float | None:
    """Return how long the engine asked to be left alone, if it did."""
    return error.retry_after if isinstance(error, UpstreamStatus) and error.status in {429, 503} else None


def _is_clients_fault(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamStatus) and error.status in CLIENTS_FAULT


def _is_keys_fault(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamStatus) and error.status in OUR_KEYS_FAULT


def _asks_for_patience(error: UpstreamError) -> bool:
    return isinstance(error, EngineResting) or (isinstance(error, UpstreamStatus) and error.status == 429)


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
