from archive_cli.answers import chunk_lines, counts, excerpt, model_ids, place, share, source_lines, step_lines

CITED = {"type": "library", "filename": "a.pdf", "page": 12, "sentence": "The pump turns.", "cited": True}
OTHER = {"type": "library", "filename": "b.pdf", "page": 3, "text": "Something\n else.", "cited": False}


def test_cited_sources_come_first() -> None:
    assert source_lines([OTHER, CITED]) == [
        ' * [2] a.pdf, page 12: "The pump turns."',
        '   [1] b.pdf, page 3: "Something else."',
    ]


def test_memory_has_no_page() -> None:
    assert place({"type": "memory", "text": "x"}) == "from memory"


def test_long_sentence_is_shortened() -> None:
    line = source_lines([{"filename": "a", "sentence": "word " * 100}])[0]
    assert line.endswith(' ..."')
    assert len(line) < 260


def test_chunk_shows_its_pages() -> None:
    head, text = chunk_lines(1, {"filename": "a.pdf", "page_start": 2, "page_end": 3, "text": "x", "similarity": 0.5})
    assert head == "1. a.pdf, pages 2-3  (0.50)"
    assert text == "   x"


def test_excerpt_begins_at_the_answer() -> None:
    text = "The dock is old. " * 40 + "The crane lifts forty tonnes. " + "Gulls live there. " * 40
    found = excerpt(text, "How many tonnes does the crane lift?", length=80)
    assert found == "... The crane lifts forty tonnes. Gulls live there. Gulls live there. ..."
    assert excerpt("Short.", "crane") == "Short."


def test_endless_sentence_is_cut() -> None:
    assert len(excerpt("crane " * 500, "crane", length=80)) < 90


def test_percentages_are_understood() -> None:
    assert chunk_lines(1, {"filename": "a", "text": "", "similarity_pct": 79.0})[0].endswith("(0.79)")


def test_step_shows_action_and_result() -> None:
    step = {"step_number": 1, "thought": "Add.", "action": "Calculator", "action_input": "1+1", "observation": "2"}
    assert step_lines(step) == ["1. Add.", "   Calculator(1+1)", "   -> 2"]


def test_counts_show_what_is_known() -> None:
    assert counts({"pages": 10, "pages_done": 3}) == "3/10 pages"
    assert counts({"pages": 10, "pages_done": 10, "chunks": 4, "vectors": 9}) == "10 pages, 4 chunks, 9 vectors"
    assert counts({}) == ""
    assert (share({"share": 0.305}), share({"share": None}), share({})) == ("30 %", "", "")


def test_models_come_as_cards_or_names() -> None:
    assert model_ids({"models": [{"id": "a"}, "b"]}) == ["a", "b"]
