import functools
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_librarian.adapters.tokenizer import ByteTokenizer, TiktokenTokenizer, load_tokenizer
from archive_librarian.domain.chunker import ChunkOptions, Piece, Tokenizer, chunk
from archive_librarian.domain.document import Block
from archive_librarian.domain.flow import Flow, flow
from archive_librarian.domain.sections import SectionedBlock
from archive_librarian.domain.sentences import sentence_spans

SMALL = ChunkOptions(max_tokens=40, overlap_tokens=8)


@functools.cache
def tokenizer() -> Tokenizer:
    return load_tokenizer()


def document(*blocks: Block) -> Flow:
    return flow([SectionedBlock(block, ()) for block in blocks])


def cut(text: Flow, options: ChunkOptions = SMALL) -> list[Piece]:
    return list(chunk(text, tokenizer(), options))


class Words:
    """A token a word, and one more where the space before the first word is missing: what BPE does to rare words."""

    name = "words"

    def count(self, text: str) -> int:
        return len(text.split()) + (not text[:1].isspace())


class Grudging(Words):
    """Counts more for a long text than for its parts, so that what fits by its sum may not fit when it is joined."""

    def count(self, text: str) -> int:
        return len(text.split()) + (len(text.split()) > 12)


words = st.text(alphabet='abcdefgh ABC.!?,\n"日本語。é0', min_size=0, max_size=60)
texts = st.lists(words | st.text(min_size=0, max_size=40) | st.just("x" * 400), max_size=30).map(" ".join)
documents = st.lists(st.tuples(texts, st.integers(1, 3)), max_size=4).map(
    lambda parts: document(*(Block(text, page) for text, page in sorted(parts, key=lambda part: part[1])))
)


@settings(max_examples=60, deadline=None)
@given(documents)
def test_never_exceeds_the_limit(text: Flow) -> None:
    for piece in cut(text):
        assert piece.tokens == tokenizer().count(piece.text) <= SMALL.max_tokens


@settings(max_examples=60, deadline=None)
@given(documents)
def test_keeps_every_visible_character(text: Flow) -> None:
    covered = [False] * len(text.text)
    for piece in cut(text):
        assert text.text[piece.char_start : piece.char_end] == piece.text
        covered[piece.char_start : piece.char_end] = [True] * len(piece.text)
    assert all(seen or character.isspace() for seen, character in zip(covered, text.text, strict=True))


@settings(max_examples=60, deadline=None)
@given(documents)
def test_ends_only_at_sentence_ends(text: Flow) -> None:
    spans = list(sentence_spans(text.text))
    ends = {end for _, end in spans}
    for piece in cut(text):
        if piece.char_end in ends:
            continue
        start, end = next(span for span in spans if span[0] < piece.char_end < span[1])
        assert tokenizer().count(text.text[start - 1 if start else 0 : end]) > SMALL.max_tokens - 1


@settings(max_examples=60, deadline=None)
@given(documents)
def test_overlaps_at_most_as_set(text: Flow) -> None:
    pieces = cut(text)
    for one, other in itertools.pairwise(pieces):
        assert one.char_start < other.char_start
        assert one.char_end < other.char_end
        shared = text.text[other.char_start : one.char_end]
        assert tokenizer().count(shared) <= SMALL.overlap_tokens + 1  # its first word lost the space before it


def test_neighbours_share_whole_sentences() -> None:
    text = document(Block(" ".join(f"Sentence number {number} ends here." for number in range(100))))
    pieces = cut(text)
    assert len(pieces) > 10
    for one, other in itertools.pairwise(pieces):
        assert text.text[other.char_start : one.char_end].startswith("Sentence number")
        assert text.text[other.char_start : one.char_end].endswith("here.")


def test_zero_overlap_shares_nothing() -> None:
    text = document(Block("A sentence of some words. " * 60))
    pieces = cut(text, ChunkOptions(max_tokens=40, overlap_tokens=0))
    assert all(one.char_end <= other.char_start for one, other in itertools.pairwise(pieces))


def test_same_input_same_chunks() -> None:
    text = document(Block("Deterministic output. " * 200))
    assert cut(text) == cut(text)


def test_marks_tell_the_page() -> None:
    text = document(Block("First page.", 1), Block("Second page.", 2), Block("Third page.", 3))
    (piece,) = cut(text)
    assert [(piece.text[offset:][:5], page) for offset, page in piece.marks] == [
        ("First", 1),
        ("Secon", 2),
        ("Third", 3),
    ]
    assert (piece.page_start, piece.page_end) == (1, 3)


def test_headings_are_known_in_each_piece() -> None:
    body = "Some words stand below the heading here. " * 3
    blocks = [Block(f"Part {number}", heading_level=1) if number % 2 else Block(body) for number in range(9)]
    pieces = cut(document(*blocks), ChunkOptions(max_tokens=40, overlap_tokens=16))
    named = [[piece.text[start:end] for start, end in piece.headings] for piece in pieces]
    assert len(pieces) > 3
    assert named == [[line for line in piece.text.split("\n") if line.startswith("Part")] for piece in pieces]


def test_heading_stays_with_its_text() -> None:
    blocks = [Block("Filler sentence number one two three. " * 4), Block("Chapter Two", heading_level=1)]
    blocks.append(Block("Its text follows the heading at once. " * 4))
    pieces = cut(document(*blocks))
    assert not any(piece.text.endswith("Chapter Two") for piece in pieces)


def test_headings_without_their_text_move_on() -> None:
    blocks = [Block("a title page without any full stop"), Block("Chapter Two", heading_level=1)]
    blocks.append(Block("One long sentence " + "goes on and on " * 8 + "here."))
    first, *rest = cut(document(*blocks))
    assert first.text == "a title page without any full stop"
    assert rest[0].text.startswith("Chapter Two")


def test_sentence_that_fits_only_behind_another_is_cut() -> None:
    sixteen = " ".join(f"W{number}" for number in range(15)) + " end."
    pieces = list(chunk(document(Block(f"First. {sixteen} Last.")), Words(), ChunkOptions(16, 0)))
    assert [piece.tokens for piece in pieces] == [2, 15, 4]
    assert " ".join(piece.text for piece in pieces) == f"First. {sixteen} Last."


def test_overlap_gives_up_a_sentence_that_grew() -> None:
    # Two sentences of four words fit the overlap of eight by their sum, but their text alone counts nine.
    text = document(Block("Some four words here. " * 12))
    pieces = list(chunk(text, Words(), ChunkOptions(20, 8)))
    shared = {text.text[other.char_start : one.char_end] for one, other in itertools.pairwise(pieces)}
    assert shared == {"Some four words here."}


def test_chunk_that_grew_gives_up_a_sentence() -> None:
    pieces = list(chunk(document(Block("Some four words here. " * 9)), Words(), ChunkOptions(16, 0)))
    assert [piece.tokens for piece in pieces] == [13, 13, 13]


def test_overlap_shrinks_for_the_next_sentence() -> None:
    twelve = "Twelve " + "words " * 10 + "end."
    text = document(Block(f"Just two. Four words stand here. {twelve}"))
    last = list(chunk(text, Grudging(), ChunkOptions(16, 4)))[-1]
    assert (last.text, last.tokens) == (f"words stand here. {twelve}", 16)


@pytest.mark.parametrize(("word", "times"), [("Astonishingly", 60), ("no", 100)])
def test_overlong_sentence_is_cut_between_words(word: str, times: int) -> None:
    pieces = cut(document(Block(f"{word} " * times + "end.")))
    assert len(pieces) > 2
    assert {word, "end."} == {part for piece in pieces for part in piece.text.split()}


def test_one_long_word_is_cut() -> None:
    pieces = cut(document(Block("Q7z" * 20_000)))
    assert len(pieces) > 100
    assert all(piece.tokens <= SMALL.max_tokens for piece in pieces)


def test_empty_text_gives_nothing() -> None:
    assert cut(document()) == []


@pytest.mark.parametrize(("most", "overlap"), [(8, 0), (64, 33), (64, -1)])
def test_impossible_options_are_refused(most: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap_tokens"):
        ChunkOptions(max_tokens=most, overlap_tokens=overlap)


def test_vocabulary_comes_without_network() -> None:
    tokenizer = load_tokenizer()
    assert isinstance(tokenizer, TiktokenTokenizer)
    assert (tokenizer.name, tokenizer.count("hello world")) == ("cl100k_base", 2)


def test_byte_estimate_counts_three_a_token() -> None:
    estimate = ByteTokenizer()
    assert [estimate.count(text) for text in ("", "abc", "abcd", "abcdef")] == [0, 1, 2, 2]
