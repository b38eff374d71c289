"""Call any OpenAI-compatible server: vLLM, llama.cpp, TGI, SGLang, Ollama, LM Studio, OpenAI itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, cast

from yarl import URL

from archive_contracts.chat import Kind
from archive_engine.adapters.http_session import HttpSession, head_of, request_of
from archive_engine.adapters.http_wire import Answer, NotConnected
from archive_engine.adapters.upstream_reply import Shape, Timeouts, UpstreamReply
from archive_engine.domain.errors import (
    UpstreamCut,
    UpstreamMalformed,
    UpstreamRefused,
    UpstreamStalled,
    UpstreamStatus,
)

_VERSION_SEGMENT: Final = re.compile(r"^v\d")
_PATHS: Final[Mapping[Kind, str]] = {
    "chat": "chat/completions",
    "completion": "completions",
    "rerank": "rerank",
}
_EMBEDDINGS: Final = "embeddings"
_PROBE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server says about itself; None where it does not say.

    `context` is the tokens one request may use, `slots` how many requests it works on at once.
    """

    kind: Literal["llama.cpp", "vllm", "openai"]
    models: tuple[str, ...]
    context: int | None = None
    slots: int | None = None


class OpenAIBackend:
    """One server. It keeps no state but its address, and any number of calls may run at once."""

    def __init__(
        self,
        base_url: str,
        *,
        session: HttpSession,
        api_key: str | None = None,
        timeouts: Timeouts | None = None,
        stream_upstream: bool = False,
    ) -> None:
        """Describe a server by its base URL, with or without `/v1`.

        `stream_upstream` asks for a stream even when the caller did not, and assembles it: for servers that do not
        notice a closed connection until they write to it.
        """
        self._root, self._api = _addresses(base_url)
        self._session = session
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        # Making an address and a head takes longer than a look into a table, and each request needs them.
        self._urls = {path: self._api / path for path in (*_PATHS.values(), _EMBEDDINGS)}
        self._heads = {path: self._head(url) for path, url in self._urls.items()}
        self._timeouts = timeouts or Timeouts()
        self._stream_upstream = stream_upstream

    def call(
        self, kind: Kind, body: str | bytes, *, stream: bool, headers: Mapping[str, str] | None = None
    ) -> UpstreamReply:
        """Call the endpoint of a kind with a body that goes out as it is; `stream` says what the body asks for."""
        path = _PATHS[kind]
        if stream:
            return self._reply(path, body, shape="stream", headers=headers)
        if not self._stream_upstream or kind == "rerank":
            return self._reply(path, body, shape="whole", headers=headers)
        return self._reply(path, _as_streamed(body), shape="assembled", headers=headers)

    def chat(self, body: str | bytes, *, stream: bool, headers: Mapping[str, str] | None = None) -> UpstreamReply:
        """Call `/chat/completions`."""
        return self.call("chat", body, stream=stream, headers=headers)

    def completions(
        self, body: str | bytes, *, stream: bool, headers: Mapping[str, str] | None = None
    ) -> UpstreamReply:
        """Call `/completions`."""
        return self.call("completion", body, stream=stream, headers=headers)

    async def embeddings(
        self, body: str | bytes, *, headers: Mapping[str, str] | None = None
    ) -> tuple[str, Mapping[str, str]]:
        """Call `/embeddings` and return the answer's body and headers as they came.

        Raises:
            UpstreamError: every kind of it.
        """
        async with self._reply(_EMBEDDINGS, body, shape="opaque", headers=headers) as reply:
            return (await anext(reply)).data, reply.headers

    async def models(self) -> tuple[str, ...]:
        """List the ids of the models it serves.

        Raises:
            UpstreamError: it cannot be reached, or its answer is no list of models.
        """
        return tuple(str(entry["id"]) for entry in await self._model_entries())

    async def health(self) -> None:
        """Return when it can take requests now: `/health`, and where there is none, `/models`.

        Raises:
            UpstreamError: it cannot; a server still loading its model answers 503.
        """
        try:
            await self._get(self._root / "health")
        except UpstreamStatus as error:
            if error.status not in {401, 403, 404, 405, 501}:
                raise
            await self._model_entries()

    async def capabilities(self) -> Capabilities:
        """Ask for models, context length and slots, in the places where llama.cpp and vLLM tell them.

        Raises:
            UpstreamError: it cannot be reached, or its answer is no list of models.
        """
        entries = await self._model_entries()
        models = tuple(str(entry["id"]) for entry in entries)
        longest = [entry["max_model_len"] for entry in entries if isinstance(entry.get("max_model_len"), int)]
        if longest:
            return Capabilities("vllm", models, context=min(longest))
        props = await self._props()
        settings = props.get("default_generation_settings")
        if not isinstance(settings, dict):
            return Capabilities("openai", models)
        context = cast("dict[str, Any]", settings).get("n_ctx")
        slots = props.get("total_slots")
        return Capabilities(
            "llama.cpp",
            models,
            context=context if isinstance(context, int) else None,
            slots=slots if isinstance(slots, int) else None,
        )

    def _reply(self, path: str, body: str | bytes, *, shape: Shape, headers: Mapping[str, str] | None) -> UpstreamReply:
        data = body.encode() if isinstance(body, str) else body
        url = self._urls[path]
        request = request_of(self._head(url, headers) if headers else self._heads[path], data)
        asking = partial(self._request, url, request, self._timeouts.first_token_s)
        return UpstreamReply(asking, shape=shape, timeouts=self._timeouts)

    def _head(self, url: URL, headers: Mapping[str, str] | None = None) -> bytes:
        return head_of("POST", url, {"content-type": "application/json", **(headers or {}), **self._headers})

    async def _request(self, url: URL, request: bytes, limit_s: float) -> Answer:
        """Send a request and wait for the status."""
        try:
            return await self._session.ask(url, request, connect_s=self._timeouts.connect_s, head_s=limit_s)
        except TimeoutError as error:
            raise UpstreamStalled(
                f"The engine at {url.host}:{url.port} gave no answer for {limit_s:g} s.",
                next_step="See whether it is overloaded, or raise the first-token limit of the engine.",
            ) from error
        except OSError as error:
            raise _connection_error(f"{url.host}:{url.port}", error) from error

    async def _get(self, url: URL) -> Any:
        """Fetch and decode a small JSON document.

        Raises:
            UpstreamError: every kind of it.
        """

        request = request_of(head_of("GET", url, self._headers), None)
        asking = partial(self._request, url, request, _PROBE_S)
        probe = Timeouts(first_token_s=_PROBE_S, idle_s=_PROBE_S)
        async with UpstreamReply(asking, shape="raw", timeouts=probe) as reply:
            text = (await anext(reply)).data
        try:
            return json.loads(text)
        except ValueError:
            # vLLM's /health says 200 and nothing more.
            return None

    async def _model_entries(self) -> list[dict[str, Any]]:
        found = await self._get(self._api / "models")
        entries = cast("dict[str, Any]", found).get("data") if isinstance(found, dict) else None
        if not isinstance(entries, list):
            raise UpstreamMalformed(
                f"{self._api / 'models'} is no list of models.",
                next_step="Check that the base URL is an OpenAI-compatible API.",
            )
        return [
            cast("dict[str, Any]", entry)
            for entry in cast("list[Any]", entries)
            if isinstance(entry, dict) and "id" in entry
        ]

    async def _props(self) -> dict[str, Any]:
        try:
            found = await self._get(self._root / "props")
        except UpstreamStatus:
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _connection_error(where: str, error: Exception) -> UpstreamRefused | UpstreamCut:
    if isinstance(error, NotConnected):
        return UpstreamRefused(
            f"No connection to the engine at {where}: {error}.",
            next_step="Start it, or correct its base URL.",
        )
    return UpstreamCut(
        f"The engine at {where} gave no answer: {error}.",
        next_step="Look into the engine's log; it may have been killed, or its base URL be that of something else.",
    )


def _addresses(base_url: str) -> tuple[URL, URL]:
    """Return the server's root and its API: an address without a version in its path gets `/v1`."""
    url = URL(base_url.rstrip("/"))
    parts = [part for part in url.path.split("/") if part]
    for index, part in enumerate(parts):
        if _VERSION_SEGMENT.match(part):
            return url.with_path("/" + "/".join(parts[:index])), url
    return url, url / "v1"


def _as_streamed(body: str | bytes) -> bytes:
    """Rewrite a request to ask for a stream that ends with usage.

    A body that is no JSON object goes out unchanged: to say what is wrong with it is the server's part.
    """
    try:
        request = json.loads(body)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        return body.encode() if isinstance(body, str) else body
    streamed = {**cast("dict[str, Any]", request), "stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(streamed).encode()
