"""The gateway as the command sees it: JSON calls, uploads, event streams; failures become errors of this package."""

import json
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

from archive_cli.errors import CliError, NotRunningError, RefusedError
from archive_cli.sse import Event, parse

# httpx imports its own command line at import, and with it click, pygments and rich: more than half of the time it
# takes, for something nobody calls here. It goes on without when that module cannot be had.
sys.modules.setdefault("httpx._main", cast("Any", None))

import httpx  # noqa: E402 - after the line above

Json = Mapping[str, Any]


class Gateway:
    """One connection pool to the gateway; safe to share between threads.

    All calls raise NotRunningError when nothing answers, RefusedError when the server says no, CliError when the
    connection breaks or the answer takes longer than `timeout_s` between two bytes.
    """

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 300.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._client = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            # A proxy of the surroundings knows nothing of a gateway on this machine.
            trust_env=not _is_loopback(self.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **query: str | int) -> Json:
        """Return the JSON object at a path."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Json) -> Json:
        """Send a JSON object, return the one that comes back."""
        return self._call("POST", path, json=dict(body))

    def delete(self, path: str) -> Json:
        """Delete what a path names."""
        return self._call("DELETE", path)

    def upload(self, file: Path, *, replace: str = "") -> Json:
        """Send a file to be ingested; return its job and document ids. The file is streamed, not read at once."""
        try:
            with file.open("rb") as content:
                return self._call(
                    "POST",
                    "/v1/documents",
                    files={"file": (file.name, content)},
                    data={"replace": replace} if replace else None,
                )
        except OSError as error:
            raise CliError(f"{file} cannot be read: {error.strerror}.", code="file_unreadable") from error

    @contextmanager
    def events(self, method: str, path: str, *, body: Json | None = None) -> Generator[Iterator[Event]]:
        """Open an event stream."""
        with self._translated():
            headers = {"accept": "text/event-stream"}
            with self._client.stream(method, path, json=body, headers=headers) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _refusal(answer)
                yield parse(answer.iter_lines())

    def _call(self, method: str, path: str, **request: Any) -> Json:
        with self._translated():
            answer = self._client.request(method, path, **request)
        if answer.status_code >= 400:
            raise _refusal(answer)
        if not answer.content:
            return {}
        try:
            found: object = answer.json()
        except ValueError as error:
            raise CliError(
                f"{self.url}{path} did not answer with JSON.",
                code="not_the_gateway",
                next_step="check --url or ARCHIVE_URL: is it another program's address?",
            ) from error
        return cast("Json", found) if isinstance(found, dict) else {"items": found}

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotRunningError(
                f"Nothing answers at {self.url}.",
                code="not_running",
                next_step="start it with `archive up`, or name another address with --url or ARCHIVE_URL",
            ) from error
        except httpx.TimeoutException as error:
            raise CliError(
                f"No answer within {self._timeout_s:g} s.",
                code="timeout",
                next_step="look at `archive status`; allow more time with --timeout",
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise NotRunningError(f"{self.url!r} is no address: {error}", code="bad_url") from error
        except httpx.TransportError as error:
            raise CliError(
                f"The connection to {self.url} broke: {error}", code="connection_broken", next_step="try again"
            ) from error


def problem_of(body: object, *, status: int = 0) -> RefusedError:
    """Read an error body: ours, ``{"detail","code","next_step"}``, or OpenAI's envelope, or a job's problem."""
    told = _object(body)
    inner: object = told.get("error", told)
    fields = _object(inner) or {"message": inner}
    message = fields.get("message") or fields.get("detail") or f"The server answered with status {status}."
    return RefusedError(
        message if isinstance(message, str) else json.dumps(message),
        code=str(fields.get("code") or fields.get("type") or "refused"),
        next_step=str(fields.get("next_step") or _usual_step(status)),
        status=status,
    )


def _object(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _refusal(answer: httpx.Response) -> RefusedError:
    try:
        body: object = answer.json()
    except ValueError:
        body = {"detail": answer.text.strip()[:500]}
    return problem_of(body, status=answer.status_code)


def _usual_step(status: int) -> str:
    match status:
        case 401 | 403:
            return "set ARCHIVE_API_KEY to a valid key"
        case 429 | 503:
            return "try again in a moment; `archive status` shows what is not ready"
        case _:
            return ""


def _is_loopback(url: str) -> bool:
    return httpx.URL(url).host in {"127.0.0.1", "localhost", "::1"}
