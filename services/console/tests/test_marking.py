"""Finding a sentence in a text that was laid out differently."""

from hypothesis import given
from hypothesis import strategies as st

from archive_console.domain.marking import Piece, find, joined, on_page, split
from archive_contracts.documents import Chunk

WORD = st.text(alphabet=st.characters(whitelist_categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=8)
GAP = st.text(alphabet=" \n\t-,;", min_size=1, max_size=3)
TEXT = "Intro. The lighthouse of Port\nEllery is 47 metres tall.) The rest."


def chunk(text: str, start: int, *headings: tuple[int, int]) -> Chunk:
    return Chunk(id="c", index=0, text=text, tokens=1, char_start=start, char_end=start + len(text), headings=headings)


def test_line_breaks_do_not_matter() -> None:
    start, end = find(TEXT, "the lighthouse of port Ellery is 47 metres tall.") or (0, 0)
    assert TEXT[start:end] == "The lighthouse of Port\nEllery is 47 metres tall.)"


def test_beginning_stands_for_the_whole() -> None:
    start, end = find(TEXT, "The lighthouse of Port Ellery is old and grey") or (0, 0)
    assert TEXT[start:end] == "The lighthouse of Port\nEllery is"


def test_longest_beginning_wins() -> None:
    text = "One two three. One two three four five."
    start, _ = find(text, "one two three four six") or (0, 0)
    assert start == 15


def test_too_little_is_not_found() -> None:
    assert find(TEXT, "The lighthouse burned down") is None
    assert find(TEXT, "Elsewhere entirely") is None
    assert find(TEXT, "...") is None
    assert find("", "anything") is None


@given(st.lists(WORD, min_size=3, max_size=12), st.lists(GAP, min_size=12, max_size=12), st.text(), st.text())
def test_sentence_is_found_however_spaced(words: list[str], gaps: list[str], before: str, after: str) -> None:
    laid_out = "".join(word + gap for word, gap in zip(words, gaps, strict=False))
    text = f"{before} {laid_out} {after}"
    start, end = find(text, " ".join(words)) or (0, 0)
    assert [word.casefold() for word in split_words(text[start:end])] == [
        word.casefold() for word in split_words(" ".join(words))
    ]


def split_words(text: str) -> list[str]:
    return "".join(char if char.isalnum() or char == "_" else " " for char in text).split()


@given(st.text(), st.text(), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted).map(tuple)))
def test_pieces_make_up_the_text(text: str, sentence: str, headings: list[tuple[int, int]]) -> None:
    pieces = split(text, sentence, headings)
    assert "".join(piece.text for piece in pieces) == text
    assert sum(piece.marked for piece in pieces) <= 1


def test_sentence_becomes_a_piece() -> None:
    assert split("One. Two three four. Five.", "two three four.") == [
        Piece("One. "),
        Piece("Two three four.", marked=True),
        Piece(" Five."),
    ]
    assert split("One.", "") == [Piece("One.")]


def test_overlap_is_shown_once() -> None:
    text = "abcdefghij"
    assert joined([chunk(text[0:6], 0), chunk(text[4:9], 4), chunk(text[5:8], 5), chunk(text[8:], 8)]).text == text
    assert joined([chunk("abc", 0), chunk("xyz", 10)]).text == "abc\n\nxyz"
    assert joined([]).text == ""


def test_headings_are_found_again_behind_an_overlap() -> None:
    text = "Rent\nIt is due.\nNotice\nThree months."
    parts = [chunk(text[:22], 0, (0, 4), (16, 22)), chunk(text[16:], 16, (0, 6))]
    passages = joined(parts)
    assert [passages.text[left:right] for left, right in passages.headings] == ["Rent", "Notice"]
    apart = joined([chunk("Rent", 0, (0, 4)), chunk("Notice\nThree.", 50, (0, 6))])
    assert [apart.text[left:right] for left, right in apart.headings] == ["Rent", "Notice"]
    assert split(passages.text, "three months.", passages.headings) == [
        Piece("Rent", heading=True),
        Piece("\nIt is due.\n"),
        Piece("Notice", heading=True),
        Piece("\n"),
        Piece("Three months.", marked=True),
    ]


def test_passage_is_cut_to_the_page_that_is_shown() -> None:
    first = chunk("Rent\nDue now.\nNotice\nThree months.", 10, (0, 4), (14, 20))
    first = first.model_copy(update={"marks": ((0, 2), (5, 3), (14, 4))})
    second = chunk("Three months.\nRepairs", 31).model_copy(update={"marks": ((0, 4), (14, 5))})
    pages = {page: joined(on_page([first, second], page)) for page in (1, 2, 3, 4, 5)}
    assert [passages.text for passages in pages.values()] == [
        "",
        "Rent\n",
        "Due now.\n",
        "Notice\nThree months.\n",
        "Repairs",
    ]
    assert (pages[2].headings, pages[3].headings, pages[4].headings) == (((0, 4),), (), ((0, 6),))
    assert on_page([chunk("unmarked", 0)], 7) == [chunk("unmarked", 0)]


def test_sentence_that_begins_with_its_heading_is_one_piece() -> None:
    assert split("Rent\nIt is due.", "Rent It is due.", [(0, 4)]) == [Piece("Rent\nIt is due.", marked=True)]


@given(st.text(min_size=1, max_size=80), st.lists(st.integers(1, 12), min_size=1, max_size=10), st.integers(1, 5))
def test_overlapping_cuts_join_again(text: str, steps: list[int], overlap: int) -> None:
    places, chunks = 0, list[Chunk]()
    for step in [*steps, len(text)]:
        begin = max(0, places - overlap)
        if places < len(text):
            chunks.append(chunk(text[begin : places + step], begin))
        places = min(len(text), places + step)
    assert joined(chunks).text == text
