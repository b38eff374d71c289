"""From typed text to full-text queries."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_memory.domain.query import (
    MAX_ANY,
    MAX_TERMS,
    common_above,
    informative,
    is_unsegmented,
    match_all,
    match_any,
    quoted,
    scope_of,
    terms,
)


def test_words_are_folded_and_unique() -> None:
    assert terms("Blue pump, the PUMP-house_key!").words == ("blue", "pump", "house", "key")


def test_syntax_is_only_text() -> None:
    assert terms('a" OR scope:"<2>* NEAR(b c)').words == ("scope", "2", "near", "b", "c")
    assert quoted('say "no"') == '"say ""no"""'


def test_unsegmented_runs_become_trigrams() -> None:
    found = terms("Wo liegt 北京大学 heute?")
    assert found.words == ("wo", "liegt", "heute")
    assert found.grams == ("北京大", "京大学")


@pytest.mark.parametrize("text", ["日本語のテキスト", "ภาษาไทย", "中文"])
def test_unsegmented_scripts_are_recognised(text: str) -> None:
    assert is_unsegmented(f"abc {text}")
    assert not terms(text).words


@pytest.mark.parametrize("text", ["Größe", "Привет мир", "한국어 단어", "عربي", ""])
def test_spaced_scripts_are_words(text: str) -> None:
    assert not is_unsegmented(text)
    assert not terms(text).grams


def test_short_runs_are_kept_apart() -> None:
    assert terms("北京").short_runs == ("北京",)


def test_common_terms_yield_to_rare() -> None:
    assert informative({"the": 90_000, "pump": 12, "seal": 3, "zzz": 0}, 100_000) == ["seal", "pump"]


def test_common_terms_stay_when_alone() -> None:
    assert informative({"the": 90_000, "of": 80_000}, 100_000) == ["of", "the"]


def test_phrasing_yields_to_the_subject() -> None:
    assert terms("What is the pump?").words == ("pump",)
    assert terms("Who is it?").words == ("who", "is", "it")
    assert terms("Where is 北京?").words == ()


def test_small_libraries_have_no_common_terms() -> None:
    assert informative({"the": 5, "pump": 1}, 5) == ["pump", "the"]
    assert common_above(5) >= 5


def test_number_of_terms_is_bounded() -> None:
    many = [f"w{i}" for i in range(500)]
    assert len(terms(" ".join(many)).words) == MAX_TERMS
    assert match_any("<1>", many).count(" OR ") == MAX_ANY - 1


def found_by_another(body: str, *matches: str) -> list[object]:
    """Return what queries for tenant 1 find where tenant 2 wrote this text."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5 (scope, body)")
        connection.execute("INSERT INTO t VALUES (?, ?)", (scope_of(2), body.encode(errors="replace").decode()))
        return [
            row
            for match in matches
            for row in connection.execute("SELECT rowid FROM t WHERE t MATCH ?", (match,)).fetchall()
        ]


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_stays_in_its_scope(text: str) -> None:
    found = terms(text)
    parts = [part for part in (found.words, found.grams) if part]
    matches = [of(scope_of(1), part) for part in parts for of in (match_all, match_any)]
    assert found_by_another(text, *matches) == []


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_any_term_can_be_quoted(raw: list[str]) -> None:
    assert found_by_another(" ".join(raw), match_all(scope_of(1), raw)) == []
