"""Vectors of the built-in model."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from archive_contracts.engine import EmbedRequested
from archive_engine.adapters.minilm import MiniLM
from archive_engine.adapters.vectors import packed
from archive_engine.domain.errors import BadTokens
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
        return packed(self._model.model_id, matrix, counts, tokens, dimensions)

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
        return packed(self._model.model_id, matrix, [1] * len(rows), used, request.dimensions)

    def _run(self, texts: Sequence[str], windowed: bool) -> tuple[npt.NDArray[np.float32], list[int], int]:
        tokens = sum(self._model.count_tokens(text) for text in texts)
        if not windowed:
            return self._model.embed(texts), [1] * len(texts), tokens
        found = self._model.embed_windows(texts)
        return np.concatenate([text.vectors for text in found]), [len(text.vectors) for text in found], tokens


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
