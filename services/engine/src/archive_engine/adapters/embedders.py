"""The two sources of vectors: the built-in model, and any server with ``/v1/embeddings``."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from archive_contracts.engine import EmbedRequested
from archive_engine.adapters.minilm import MiniLM
from archive_engine.adapters.openai_http import OpenAIBackend
from archive_engine.domain.errors import BadTokens, UpstreamMalformed
from archive_engine.domain.ports import Vectors

SLICE_CHARS = 2_000
"""Text that is embedded in one go: about 20 ms, so that a query waits no longer behind a document."""


class BuiltInEmbedder:
    """The built-in model on a thread of its own; requests take turns slice by slice."""

    def __init__(self, model: MiniLM) -> None:
        self._model = model
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="minilm")

    async def embed(self, request: EmbedRequested) -> Vectors:
        """Return a vector a text, or one for each window of a text; arrays of tokens are read as the model's own."""
        if request.tokens:
            return await self._embed_tokens(request)
        texts, windowed, dimensions = request.texts, request.windowed, request.dimensions
        rows: list[npt.NDArray[np.float32]] = []
        counts: list[int] = []
        tokens = 0
        loop = asyncio.get_running_loop()
        for piece in _slices(texts):
            async with self._turn:
                found, taken, used = await loop.run_in_executor(self._thread, self._run, piece, windowed)
            rows.append(found)
            counts += taken
            tokens += used
        matrix = np.concatenate(rows) if rows else np.empty((0, self._model.dimensions), np.float32)
        return _vectors(self._model.model_id, matrix, counts, tokens, dimensions)

    async def _embed_tokens(self, request: EmbedRequested) -> Vectors:
        if any(not 0 <= token < self._model.vocabulary for tokens in request.tokens for token in tokens):
            raise BadTokens(
                f"Tokens of {self._model.model_id} are numbers below {self._model.vocabulary}.",
                next_step="Send the text itself, or tokens of this model's own vocabulary.",
            )
        rows: list[npt.NDArray[np.float32]] = []
        for tokens in request.tokens:
            async with self._turn:
                loop = asyncio.get_running_loop()
                rows.append(await loop.run_in_executor(self._thread, self._model.embed_tokens, [tokens]))
        used = sum(len(tokens) for tokens in request.tokens)
        matrix = np.concatenate(rows)
        return _vectors(self._model.model_id, matrix, [1] * len(rows), used, request.dimensions)

    def _run(self, texts: Sequence[str], windowed: bool) -> tuple[npt.NDArray[np.float32], list[int], int]:
        tokens = sum(self._model.count_tokens(text) for text in texts)
        if not windowed:
            return self._model.embed(texts), [1] * len(texts), tokens
        found = self._model.embed_windows(texts)
        return np.concatenate([text.vectors for text in found]), [len(text.vectors) for text in found], tokens


class ServerEmbedder:
    """A server with ``/v1/embeddings``; a text longer than its window is cut by the server itself."""

    def __init__(self, backend: OpenAIBackend, *, model: str) -> None:
        self._backend = backend
        self._model = model

    async def embed(self, request: EmbedRequested) -> Vectors:
        """Return one vector a text or array of tokens, windowed or not."""
        model = self._model or request.model
        body: dict[str, Any] = {"model": model, "input": request.tokens or request.texts, "encoding_format": "float"}
        reply = await self._backend.embeddings(json.dumps(body))
        try:
            decoded: dict[str, Any] = json.loads(reply)
            rows = sorted(decoded["data"], key=lambda row: row["index"])
            matrix = np.asarray([row["embedding"] for row in rows], dtype=np.float32)
            usage: dict[str, Any] = decoded.get("usage") or {}
            tokens = int(usage.get("prompt_tokens", 0))
        except (ValueError, KeyError, TypeError) as error:
            raise UpstreamMalformed(
                "The engine's answer holds no embeddings.", next_step="Check that it serves /v1/embeddings."
            ) from error
        return _vectors(model, matrix, [1] * len(rows), tokens, request.dimensions)


def _slices(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    piece: list[str] = []
    size = 0
    for text in texts:
        if piece and size + len(text) > SLICE_CHARS:
            yield piece
            piece, size = [], 0
        piece.append(text)
        size += len(text)
    if piece:
        yield piece


def _vectors(
    model: str, matrix: npt.NDArray[np.float32], counts: Sequence[int], tokens: int, dimensions: int | None
) -> Vectors:
    if dimensions and dimensions < matrix.shape[1]:
        matrix = matrix[:, :dimensions]
        matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    return Vectors(model, matrix.shape[1], np.ascontiguousarray(matrix, dtype="<f4").tobytes(), tuple(counts), tokens)
