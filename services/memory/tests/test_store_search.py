"""Hybrid search of chunks, and recall of turns."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_samples import DIM, batch, query, vectors

from archive_memory.adapters.store import Store
from archive_memory.domain.catalogue import NewTurn
from archive_memory.domain.errors import VectorsRejected
from archive_memory.domain.windows import QueryVector


async def library(store: Store) -> None:
    texts = "The zorblax seal wears out.", "Feline companions purr at night.", "Concrete sets in a day."
    await store.add_batch("default", "m1", batch(*texts, form="pdf"), vectors("seal", "cat", "concrete"))
    other = batch("Zorblax prices rose.", "Kittens sleep.", document="doc-2", job="job-2", form="html")
    await store.add_batch("default", "m2", other, vectors("price", "kitten"))


async def test_words_find_what_vectors_miss(store: Store) -> None:
    await library(store)
    hits = await store.search_chunks("default", "zorblax seal", query("something else"))
    assert hits[0].chunk.text == "The zorblax seal wears out."


async def test_vectors_find_a_paraphrase(store: Store) -> None:
    await library(store)
    hits = await store.search_chunks("default", "pussycat", query("cat"))
    assert hits[0].chunk.text == "Feline companions purr at night."
    assert hits[0].similarity == pytest.approx(1.0, abs=1e-3)


async def test_similarity_is_the_real_cosine(store: Store) -> None:
    await library(store)
    hits = await store.search_chunks("default", "zorblax", query("seal"), top_k=5)
    expected = {"seal": "The zorblax seal wears out.", "price": "Zorblax prices rose."}
    for meaning, text in expected.items():
        (hit,) = [hit for hit in hits if hit.chunk.text == text]
        assert hit.similarity == pytest.approx(float(query("seal").values @ query(meaning).values), abs=2e-3)


async def test_best_window_of_long_chunk_counts(store: Store) -> None:
    sent = batch("long text", "short text"), vectors(("start", "middle", "the last fact"), "other")
    await store.add_batch("default", "m1", *sent)
    (hit,) = await store.search_chunks("default", "", query("the last fact"), top_k=1)
    assert (hit.chunk.text, round(hit.similarity, 2)) == ("long text", 1.0)


async def test_search_works_without_vectors(store: Store) -> None:
    await library(store)
    hits = await store.search_chunks("default", "zorblax")
    assert {hit.document_id for hit in hits} == {"doc-1", "doc-2"}
    assert all(hit.similarity == 0.0 for hit in hits)


async def test_filters_are_exact(store: Store) -> None:
    await library(store)
    for options in ({"document_ids": ("doc-2",)}, {"formats": ("html",)}):
        hits = await store.search_chunks("default", "zorblax cat", query("cat"), top_k=10, **options)
        assert {hit.document_id for hit in hits} == {"doc-2"}
    assert await store.search_chunks("default", "zorblax", query("cat"), formats=("docx",)) == []


async def test_hits_describe_their_document(store: Store) -> None:
    await library(store)
    (hit,) = await store.search_chunks("default", "prices", top_k=1)
    assert (hit.filename, hit.format, hit.total_chunks, hit.chunk.index) == ("doc-2.txt", "html", 2, 0)


@pytest.mark.parametrize("text", ["北京大学", "北京", "大学在北京"])
async def test_chinese_is_found_by_text(store: Store, text: str) -> None:
    await store.add_batch("default", "m1", batch("他在北京大学学习", "上海的天气很好"), vectors("a", "b"))
    assert [hit.chunk.text for hit in await store.search_chunks("default", text)] == ["他在北京大学学习"]


async def test_headings_are_searched_too(store: Store) -> None:
    sent = batch("It must be changed yearly.")
    headed = sent.model_copy(update={"chunks": (sent.chunks[0].model_copy(update={"section": ("Oil filter",)}),)})
    await store.add_batch("default", "m1", headed, vectors("a"))
    (hit,) = await store.search_chunks("default", "filter")
    assert hit.chunk.section == ("Oil filter",)


async def test_tenants_never_see_each_other(store: Store) -> None:
    for tenant in ("a", "b"):
        sent = batch(f"secret of {tenant} 北京大学", document=f"doc-{tenant}", job=f"job-{tenant}")
        await store.add_batch(tenant, "m1", sent, vectors("secret"))
        await store.remember_turns(tenant, "m2", [NewTurn("user", f"my secret {tenant}")], vectors("secret"))
    for tenant, other in (("a", "b"), ("b", "a")):
        for text in ("secret", other, "北京大学", "北京", f'<2>" OR scope:"{other}'):
            hits = await store.search_chunks(tenant, text, query("secret"), top_k=50)
            assert {hit.document_id for hit in hits} <= {f"doc-{tenant}"}
            items = await store.recall(tenant, text, query("secret"))
            assert {item.text for item in items} <= {f"my secret {tenant}"}
        assert await store.get_document(tenant, f"doc-{other}") is None
        assert await store.search_chunks(tenant, "secret", document_ids=(f"doc-{other}",)) == []
        assert not await store.delete_document(tenant, "m3", f"doc-{other}")
        (foreign,), _ = await store.list_turns(other)
        assert await store.get_turn(tenant, foreign.id) is None
        assert not await store.forget_turn(tenant, "m4", foreign.id)
    assert await store.search_chunks("c", "secret", query("secret")) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(), st.text('"*^:(){}+-\\ ANDORNEAR<>1\0', max_size=30)))
async def test_no_text_breaks_search(store: Store, text: str) -> None:
    await library(store)
    hits = await store.search_chunks("default", text)
    assert {hit.document_id for hit in hits} <= {"doc-1", "doc-2"}
    assert await store.recall("default", text) == []


async def test_unknown_model_searches_words(store: Store) -> None:
    await library(store)
    stranger = QueryVector("other-model", query("cat").values)
    assert [hit.document_id for hit in await store.search_chunks("default", "prices", stranger)] == ["doc-2"]


async def test_wrong_query_dimension_is_refused(store: Store) -> None:
    await library(store)
    with pytest.raises(VectorsRejected):
        await store.search_chunks("default", "cat", QueryVector(query("cat").model, query("cat").values[: DIM - 1]))


async def test_turns_are_remembered_once(store: Store) -> None:
    said = [NewTurn("user", "My cat is called Tom"), NewTurn("assistant", "A fine name")]
    first = await store.remember_turns("default", "m1", said, vectors("tom", "name"))
    again = await store.remember_turns("default", "m1", said, vectors("tom", "name"))
    same_words = await store.remember_turns("default", "m2", [NewTurn("user", "my CAT is called tom")])
    assert again == first
    assert [item.role for item in first] == ["user", "assistant"]
    assert same_words == []
    assert (await store.list_turns("default"))[1] == 2


async def test_recall_is_hybrid(store: Store) -> None:
    said = [NewTurn("user", "We met near Zorblax", "s1"), NewTurn("user", "I adore felines", "s2")]
    await store.remember_turns("default", "m1", said, vectors("met", "cat"))
    assert (await store.recall("default", "zorblax"))[0].session == "s1"
    best = (await store.recall("default", "pets", query("cat")))[0]
    assert (best.session, best.similarity) == ("s2", pytest.approx(1.0, abs=1e-3))


async def test_recall_keeps_to_a_session(store: Store) -> None:
    said = [NewTurn("user", f"apples in {session}", session) for session in ("s1", "s2")]
    await store.remember_turns("default", "m1", said, vectors("apple", "apple"))
    items = await store.recall("default", "apples", query("apple"), session="s2")
    assert [item.session for item in items] == ["s2"]


async def test_turns_without_vectors_are_found(store: Store) -> None:
    await store.remember_turns("default", "m1", [NewTurn("user", "the code is 4711")])
    (item,) = await store.recall("default", "4711", query("code"))
    assert item.similarity is None


async def test_forgotten_turn_is_gone(store: Store) -> None:
    (item,) = await store.remember_turns("default", "m1", [NewTurn("user", "forget xylophones")], vectors("x"))
    assert await store.recall("default", "", query("x"))
    assert await store.forget_turn("default", "m2", item.id)
    assert await store.forget_turn("default", "m2", item.id)
    assert await store.get_turn("default", item.id) is None
    assert await store.recall("default", "xylophones", query("x")) == []


async def test_newest_turns_come_first(store: Store) -> None:
    said = [NewTurn("user", f"turn {number}", created_at=100.0 + number) for number in range(4)]
    await store.remember_turns("default", "m1", said)
    items, total = await store.list_turns("default", limit=2, offset=1)
    assert ([item.text for item in items], total) == (["turn 2", "turn 1"], 4)


async def test_repeated_message_brings_nothing_back(store: Store) -> None:
    said = [NewTurn("user", "what was said", session="s", created_at=1.0)]
    (item,) = await store.remember_turns("default", "first", said)
    assert await store.forget_turn("default", "second", item.id)
    assert await store.remember_turns("default", "first", said) == []
    assert await store.list_turns("default") == ([], 0)
