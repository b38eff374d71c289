import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tokenizers import Tokenizer

from archive_engine.adapters.minilm import DIMENSIONS, PIECES, MiniLM
from archive_engine.adapters.minilm_build import build_graph, ensure_model, read_safetensors, source_folder
from archive_engine.domain.errors import ModelMissing

FloatArray = npt.NDArray[np.float32]

# In one worker the two models are built once.
pytestmark = pytest.mark.xdist_group("minilm")

SENTENCES = [
    "The cat sat on the mat.",
    "How do I renew my passport?",
    "Redis streams keep an append-only log of entries.",
    "Quarterly revenue rose by twelve percent.",
    "Photosynthesis turns light into chemical energy.",
]
FILLER = "The committee met on Tuesday and went through the minutes of the last meeting once more. "
FACT = "The secret password of the vault is butterscotch."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def model(folder: Path) -> MiniLM:
    return MiniLM.open(folder)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    """The same network before quantization."""
    path = tmp_path_factory.mktemp("fp32") / "fp32.onnx"
    source = source_folder()
    path.write_bytes(build_graph(read_safetensors(source / "model.safetensors")).SerializeToString())
    return MiniLM(path, source / "tokenizer.json")


def _normed(x: FloatArray, tensors: Mapping[str, FloatArray], name: str) -> FloatArray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return scaled * tensors[f"{name}.LayerNorm.weight"] + tensors[f"{name}.LayerNorm.bias"]


def _bert(ids: Sequence[int], tensors: Mapping[str, FloatArray]) -> FloatArray:
    """The encoder written out operator by operator (Devlin et al. 2018), then mean pooling."""

    def linear(x: FloatArray, name: str) -> FloatArray:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    words, places, kinds = (
        tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
    )
    x = _normed(words[list(ids)] + places[: len(ids)] + kinds[0], tensors, "embeddings")
    for layer in (f"encoder.layer.{index}" for index in range(6)):
        q, k, v = (
            linear(x, f"{layer}.attention.self.{name}").reshape(len(ids), 12, 32).swapaxes(0, 1)
            for name in ("query", "key", "value")
        )
        weights = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(32))
        context = (weights / weights.sum(axis=-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), 384)
        x = _normed(x + linear(context, f"{layer}.attention.output.dense"), tensors, f"{layer}.attention.output")
        wide = linear(x, f"{layer}.intermediate.dense")
        active = (wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))).astype(np.float32)
        x = _normed(x + linear(active, f"{layer}.output.dense"), tensors, f"{layer}.output")
    pooled = x.mean(axis=0)
    return pooled / np.linalg.norm(pooled)


def test_fused_graph_computes_bert(reference: MiniLM) -> None:
    source = source_folder()
    tensors = read_safetensors(source / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    for sentence, vector in zip(SENTENCES, reference.embed(SENTENCES), strict=True):
        assert np.allclose(_bert(tokenizer.encode(sentence).ids, tensors), vector, atol=1e-4)


def test_int8_agrees_with_fp32(model: MiniLM, reference: MiniLM) -> None:
    cosines = (model.embed(SENTENCES) * reference.embed(SENTENCES)).sum(axis=1)
    assert cosines.min() >= 0.99


def test_related_texts_are_nearer(model: MiniLM) -> None:
    eating, bread, cheetah = model.embed(["A man is eating.", "A man is eating some bread.", "A cheetah runs."])
    assert eating @ bread > 0.6
    assert eating @ cheetah < 0.3


def test_vectors_have_unit_length(model: MiniLM) -> None:
    vectors = model.embed([*SENTENCES, "", "  \n", "日本語の文", "🦊" * 40, "\x00\ufffe", "x" * 5000])
    assert vectors.shape == (len(SENTENCES) + 6, DIMENSIONS)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_order_changes_no_vector(model: MiniLM) -> None:
    together = model.embed(SENTENCES)
    assert np.array_equal(model.embed(SENTENCES[::-1])[::-1], together)
    assert np.array_equal(model.embed([SENTENCES[2]])[0], together[2])


def test_no_texts_no_vectors(model: MiniLM) -> None:
    assert model.embed([]).shape == (0, DIMENSIONS)
    assert model.embed_windows([]) == []


def test_window_is_256_not_128(model: MiniLM) -> None:
    start = FILLER * 12
    assert 128 < model.count_tokens(start) < PIECES - 20
    apart = model.embed([start, start + FACT])
    assert float(apart[0] @ apart[1]) < 0.999


def test_last_sentence_found_by_window(model: MiniLM) -> None:
    chunk = FILLER * math.ceil(500 / model.count_tokens(FILLER)) + FACT
    assert model.count_tokens(chunk) > 500
    question = model.embed(["What is the password of the vault?"])[0]
    (windowed,) = model.embed_windows([chunk])
    by_window = windowed.vectors @ question
    truncated = float(model.embed([chunk])[0] @ question)
    best = int(by_window.argmax())
    assert FACT in chunk[slice(*windowed.spans[best])]
    assert by_window[best] > truncated + 0.1


def test_spans_cover_the_text(model: MiniLM) -> None:
    text = ("Ünïcode wörds 漢字 and — dashes… " * 60).strip()
    short, long, empty = model.embed_windows(["two words", text, ""])
    assert short.spans == ((0, 9),)
    assert empty.spans == ((0, 0),)
    assert len(empty.vectors) == 1
    assert (long.spans[0][0], long.spans[-1][1]) == (0, len(text))
    assert len(long.vectors) == len(long.spans) > 1
    assert all(after[0] < before[1] for before, after in zip(long.spans, long.spans[1:], strict=False))


def test_one_window_equals_embed(model: MiniLM) -> None:
    (windowed,) = model.embed_windows([SENTENCES[0]])
    assert np.array_equal(windowed.vectors, model.embed([SENTENCES[0]]))


def test_window_over_limit_refused(model: MiniLM) -> None:
    with pytest.raises(ValueError, match="254"):
        model.embed_windows(["x"], size=255)


def test_threads_share_one_model(model: MiniLM) -> None:
    expected = model.embed(SENTENCES)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(model.embed, [SENTENCES] * 8):
            assert np.array_equal(vectors, expected)


def test_good_file_is_kept(folder: Path, model: MiniLM) -> None:
    before = ensure_model(folder).stat()
    assert ensure_model(folder).stat().st_mtime_ns == before.st_mtime_ns
    assert before.st_size < 25_000_000


@pytest.mark.parametrize("damage", ["flip", "truncate", "manifest"])
def test_damaged_file_is_rebuilt(folder: Path, model: MiniLM, tmp_path: Path, damage: str) -> None:
    good = ensure_model(folder).read_bytes()
    path = tmp_path / ensure_model(folder).name
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    path.write_bytes({"flip": bytes(bad), "truncate": good[:1000], "manifest": good}[damage])
    manifest = ensure_model(folder).with_suffix(".json").read_text()
    path.with_suffix(".json").write_text("{" if damage == "manifest" else manifest)

    assert ensure_model(tmp_path).read_bytes() == good
    assert not list(tmp_path.glob("*.partial"))


def test_two_processes_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "archive_engine.adapters.minilm_build", str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in running]
    path = ensure_model(tmp_path)
    assert [process.returncode for process in running] == [0, 0]
    assert [out.strip() for out, _ in answers] == [str(path)] * 2
    assert sum("building" in log for _, log in answers) == 1


def test_loading_needs_no_onnx(folder: Path, model: MiniLM) -> None:
    code = "import sys; from archive_engine.adapters.minilm import MiniLM; from pathlib import Path\n"
    code += "MiniLM.open(Path(sys.argv[1])); print(*{'onnx', 'onnxruntime', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60, capture_output=True)
    assert done.stdout.split() == [b"onnxruntime"]


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{")
    with pytest.raises(ModelMissing, match="damaged"):
        read_safetensors(path)
