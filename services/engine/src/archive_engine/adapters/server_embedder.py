"""Vectors of any server with ``/v1/embeddings``."""

import json
from dataclasses import replace
from typing import Any

from archive_contracts.engine import EmbedRequested
from archive_engine.adapters.openai_http import OpenAIBackend
from archive_engine.domain.answer import MOST_TOKENS
from archive_engine.domain.errors import UpstreamMalformed
from archive_engine.domain.headers import kept
from archive_engine.domain.ports import Vectors


class ServerEmbedder:
    """A server with ``/v1/embeddings``; a text longer than its window is cut by the server itself."""

    def __init__(self, backend: OpenAIBackend, *, model: str) -> None:
        self._backend = backend
        self._model = model

    async def embed(self, request: EmbedRequested) -> Vectors:
        """Return one vector a text or array of tokens, windowed or not."""
        # A worker that only chats is spared the 30 MB that numpy takes.
        import numpy as np

        from archive_engine.adapters.vectors import packed

        model = self._model or request.model
        body: dict[str, Any] = {"model": model, "input": request.tokens or request.texts, "encoding_format": "float"}
        reply, headers = await self._backend.embeddings(json.dumps(body))
        try:
            decoded: dict[str, Any] = json.loads(reply)
            rows = sorted(decoded["data"], key=lambda row: row["index"])
            matrix = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            usage: dict[str, Any] = decoded.get("usage") or {}
            tokens = int(usage.get("prompt_tokens", 0))
            tokens = tokens if 0 <= tokens <= MOST_TOKENS else 0
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise UpstreamMalformed(
                "The engine's answer holds no embeddings.", next_step="Check that it serves /v1/embeddings."
            ) from error
        vectors = packed(model, matrix, [1] * len(rows), tokens, request.dimensions)
        return replace(vectors, headers=kept(headers.items()))
