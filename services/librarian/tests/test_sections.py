from archive_librarian.domain.document import Block, Extracted, Format, Kind, OutlineEntry
from archive_librarian.domain.flow import flow
from archive_librarian.domain.sections import SectionedBlock, sectioned


def line(text: str, page: int = 1, size: float = 10.0) -> Block:
    return Block(text, page, Kind.LINE, size)


def paths(*blocks: Block, outline: tuple[OutlineEntry, ...] = ()) -> list[tuple[str, ...]]:
    document = Extracted(Format.PDF, 9, blocks, outline=outline)
    return [item.section for item in sectioned(document)]


def test_declared_levels_nest() -> None:
    found = paths(Block("A", heading_level=1), Block("B", heading_level=2), Block("text"), Block("C", heading_level=1))
    assert found == [("A",), ("A", "B"), ("A", "B"), ("C",)]


def test_outline_finds_its_lines() -> None:
    outline = (OutlineEntry("Basics", 1, 1), OutlineEntry("Going on", 2, 2))
    found = paths(
        line("1 Basics"), line("text"), line("before"), line("1.1 Going on", 2), line("after", 2), outline=outline
    )
    assert found == [("Basics",), ("Basics",), ("Basics",), ("Basics", "Going on"), ("Basics", "Going on")]


def test_unmatched_bookmark_opens_its_page() -> None:
    found = paths(line("one"), line("two", 2), outline=(OutlineEntry("Nowhere written", 1, 2),))
    assert found == [(), ("Nowhere written",)]


def test_font_sizes_make_headings() -> None:
    body = [line(f"This is a full line of body text, number {number}.") for number in range(8)]
    found = paths(line("Title of it", size=20), line("Section", size=14), *body)
    assert found[-1] == ("Title of it", "Section")


def test_two_line_heading_is_one() -> None:
    body = [line(f"This is a full line of body text, number {number}.") for number in range(8)]
    document = Extracted(Format.PDF, 1, (line("A very long", size=20), line("heading", size=20), *body))
    assert sectioned(document)[-1].section == ("A very long heading",)


def test_uniform_size_makes_no_heading() -> None:
    assert paths(line("Only"), line("body")) == [(), ()]


def test_bookmark_to_an_empty_page_is_ignored() -> None:
    assert paths(line("one"), outline=(OutlineEntry("Plates", 1, 7),)) == [()]


def test_bookmark_without_letters_opens_its_page() -> None:
    assert paths(line("one"), line("two", 2), outline=(OutlineEntry("* * *", 1, 2),)) == [(), ("* * *",)]


def test_rules_between_lines_are_no_titles() -> None:
    found = paths(line("-----"), line("Basics"), outline=(OutlineEntry("Basics", 1, 1),))
    assert found == [(), ("Basics",)]


def test_smaller_print_is_no_heading() -> None:
    body = [line(f"This is a full line of body text, number {number}.") for number in range(8)]
    assert set(paths(*body, line("A footnote", size=8))) == {()}


def test_large_print_everywhere_is_no_heading() -> None:
    small = line("The small print outweighs all the rest by the number of its characters. " * 4, size=8)
    assert set(paths(line("One"), line("Two"), line("Three"), small)) == {()}


def joined(*blocks: Block) -> str:
    return flow([SectionedBlock(block, ()) for block in blocks]).text


def test_wrapped_lines_are_joined() -> None:
    assert (
        joined(line("The long line goes"), line("on here and"), line("ends.")) == "The long line goes on here and ends."
    )


def test_bullets_start_new_lines() -> None:
    assert (
        joined(line("The list has"), line("• one item"), line("• two items")) == "The list has\n• one item\n• two items"
    )


def test_short_line_ends_paragraph() -> None:
    long = "A line that is as wide as the page allows it"
    assert joined(line(long), line("ends."), line("New paragraph of the same width here")).endswith(
        "ends.\nNew paragraph of the same width here"
    )


def test_sentence_crosses_the_page() -> None:
    text = flow([SectionedBlock(line("A sentence that goes"), ()), SectionedBlock(line("over the page.", 2), ())])
    assert text.text == "A sentence that goes over the page."
    assert [text.page_at(0), text.page_at(text.text.index("over"))] == [1, 2]


def test_cjk_lines_join_without_space() -> None:
    assert (
        joined(line("今天下"), line("雨了。")) == "今天下雨了。"
        or joined(line("今天下"), line("雨了。")) == "今天下\n雨了。"
    )


def test_dot_leaders_are_shortened() -> None:
    assert joined(line("1.1 Purpose . . . . . . . . . . . . 12")) == "1.1 Purpose … 12"


def test_code_keeps_its_indentation() -> None:
    assert joined(Block("\n    if x:\n        y()  \n", kind=Kind.CODE)) == "    if x:\n        y()"


def test_text_of_unknown_size_is_a_paragraph_of_its_own() -> None:
    assert joined(line("The long line goes"), Block("on here", 1, Kind.LINE)) == "The long line goes\non here"


def test_section_is_told_for_every_offset() -> None:
    text = flow([SectionedBlock(Block("One."), ("A",)), SectionedBlock(Block("Two."), ("B",))])
    assert [text.section_at(offset) for offset in (-1, 0, 4, 5, 9)] == [(), ("A",), ("A",), ("B",), ("B",)]


def test_blocks_without_text_leave_no_trace() -> None:
    assert joined(Block("One."), Block("\u00ad"), Block("Two.")) == "One.\nTwo."


def bold(text: str) -> Block:
    return Block(text, 1, Kind.LINE, 10.0, bold=True)


FULL = "The long line goes on to the end of the page"


def test_bold_line_that_opens_a_paragraph_is_a_heading() -> None:
    assert joined(line(f"{FULL}."), bold("The crane of the northern quay"), line(FULL), line("and ends.")) == (
        f"{FULL}.\nThe crane of the northern quay\n{FULL} and ends."
    )


def test_bold_lines_within_a_sentence_do_not_end_it() -> None:
    for last, following in (
        ("Harbour and Quay Company of Wilhelmina", "Rotterdam, and its heirs."),
        ("the Harbour Company under Article", "12 of the Treaty."),
    ):
        assert "\n" not in joined(line(FULL), bold(last), line(following))
    assert "\n" not in joined(bold(f"{FULL},"), line("Rotterdam, and its heirs."))
    assert "\n" not in joined(bold(f"{FULL} under Article"), line("12 of the Treaty."))
