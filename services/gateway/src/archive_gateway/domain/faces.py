"""How a problem looks from outside: OpenAI's envelope under ``/v1``, the platform's elsewhere."""

import json
import math

from archive_contracts.base import Problem

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def error_body(problem: Problem, path: str) -> bytes:
    """Return the JSON body of an error answer to a request for ``path``."""
    return openai_error(problem) if speaks_openai(path) else platform_error(problem)


def speaks_openai(path: str) -> bool:
    """Whether clients of this address expect OpenAI's error envelope."""
    return path == "/v1" or path.startswith("/v1/")


def openai_error(problem: Problem) -> bytes:
    """Return ``{"error": {...}}`` with all four keys that OpenAI's clients read."""
    error = {
        "message": f"{_sentence(problem.message)} {problem.next_step}".rstrip(),
        "type": _type_of(problem.status),
        "param": problem.param,
        "code": problem.code,
    }
    return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace")


def platform_error(problem: Problem) -> bytes:
    """Return ``{"detail", "code", "next_step"}``; ``detail`` is where the original's clients look."""
    body = {"detail": _sentence(problem.message), "code": problem.code, "next_step": problem.next_step}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def error_headers(problem: Problem) -> list[tuple[bytes, bytes]]:
    """Return the headers that go with a problem: when to try again, who failed, and how to authenticate."""
    headers: list[tuple[bytes, bytes]] = []
    wait = problem.retry_after_s
    if wait is None and problem.status == 503:
        wait = 2.0
    if wait is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(wait))).encode()))
        headers.append((b"retry-after-ms", str(max(1, math.ceil(wait * 1000))).encode()))
    if problem.status in {429, 503}:
        headers.append((b"x-should-retry", b"true"))
    elif problem.status in {408, 409, 500, 502, 504}:
        # Every engine was tried that could be, or the deadline is spent, or a repetition would fail alike; a client
        # that repeats by itself would multiply our retries by its own.
        headers.append((b"x-should-retry", b"false"))
    if problem.engine:
        headers.append((b"x-archive-engine", problem.engine.encode("latin-1", "replace")))
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def _sentence(message: str) -> str:
    """Return a message as a sentence of its own; what libraries say has neither a capital nor a full stop."""
    whole = message.strip()
    return whole if not whole or whole[-1] in ".!?" else f"{whole[0].upper()}{whole[1:]}."


def _type_of(status: int) -> str:
    if status >= 500:
        return "server_error"
    return _TYPES.get(status, "invalid_request_error")
