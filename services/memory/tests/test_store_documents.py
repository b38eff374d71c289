"""Documents from their first batch to their deletion."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from memory_samples import batch, failure, info, query, vectors

from archive_contracts.documents import DocumentChunked
from archive_memory.adapters.store import Store
from archive_memory.domain.errors import VectorsRejected


async def found(store: Store, text: str, tenant: str = "default", **options: object) -> list[str]:
    assert not options
    return [hit.chunk.text for hit in await store.search_chunks(tenant, text)]


def run_at(began: float, sent: DocumentChunked, recipe: str) -> DocumentChunked:
    chunks = tuple(chunk.model_copy(update={"id": f"{recipe}-{chunk.id}"}) for chunk in sent.chunks)
    return sent.model_copy(update={"started_at": began, "recipe": recipe, "chunks": chunks})


async def test_complete_document_is_searchable(store: Store) -> None:
    await store.queue_document("default", "m0", info())
    outcome = await store.add_batch("default", "m1", batch("the red pump", "a blue valve"), vectors("pump", "valve"))
    assert (outcome.new, outcome.complete, outcome.chunks, outcome.vectors) == (True, True, 2, 2)
    document = await store.get_document("default", "doc-1")
    assert document is not None
    assert (document.status, document.chunks, document.created_at) == ("ready", 2, 100.0)
    assert await found(store, "pump") == ["the red pump"]


async def test_nothing_found_before_last_batch(store: Store) -> None:
    first = await store.add_batch("default", "m1", batch("alpha", batches=2), vectors("alpha"))
    assert (first.batches_done, first.complete) == (1, False)
    assert await store.search_chunks("default", "alpha", query("alpha")) == []
    second = await store.add_batch("default", "m2", batch("beta", number=1, batches=2), vectors("beta"))
    assert (second.batches_done, second.complete, second.vectors) == (2, True, 2)
    assert await found(store, "alpha") == ["alpha"]


async def test_batches_may_come_disordered(store: Store) -> None:
    for number in (2, 0, 1):
        outcome = await store.add_batch(
            "default", f"m{number}", batch(f"part{number}", number=number, batches=3), vectors("x")
        )
    assert outcome.complete
    assert (await store.stats("default")).chunks == 3


async def test_redelivered_batch_changes_nothing(store: Store) -> None:
    sent = batch("alpha", "beta"), vectors(("a1", "a2"), "b")
    first = await store.add_batch("default", "m1", *sent)
    before = await store.stats("default")
    again = await store.add_batch("default", "m1", *sent)
    other_id = await store.add_batch("default", "m1-again", *sent)
    assert again == other_id
    assert (again.new, again.complete, again.vectors) == (False, first.complete, first.vectors)
    assert await store.stats("default") == before
    assert len(await store.search_chunks("default", "alpha beta", query("a1"), top_k=9)) == 2


async def test_bad_pages_make_document_partial(store: Store) -> None:
    await store.add_batch("default", "m1", batch("alpha", bad_pages=(2,)), vectors("alpha"))
    document = await store.get_document("default", "doc-1")
    assert document is not None
    assert (document.status, document.bad_pages) == ("partial", (2,))
    assert await found(store, "alpha") == ["alpha"]


async def test_new_recipe_replaces_old_chunks(store: Store) -> None:
    await store.add_batch("default", "m1", batch("old words"), vectors("old"))
    await store.queue_document("default", "m2", info(job="job-2"))
    staged = batch("new words", recipe="r2", job="job-2", batches=2)
    await store.add_batch("default", "m3", staged, vectors("new"))
    assert await found(store, "words") == ["old words"]
    last = batch("more words", recipe="r2", job="job-2", number=1, batches=2)
    await store.add_batch("default", "m4", last, vectors("more"))
    assert sorted(await found(store, "words")) == ["more words", "new words"]
    assert await found(store, "old") == []


async def test_later_run_by_another_recipe_replaces_what_an_earlier_one_staged(store: Store) -> None:
    """A librarian was replaced by one of another release in the middle of a job."""
    old = [run_at(1.0, batch(f"old{number}", number=number, batches=3), "r1") for number in range(3)]
    new = [run_at(2.0, batch(f"new{number}", number=number, batches=2), "r2") for number in range(2)]
    sent = [old[0], old[1], new[0], old[2], new[1]]
    outcomes = [await store.add_batch("default", f"m{at}", each, vectors("x")) for at, each in enumerate(sent)]
    assert [outcome.batches_done for outcome in outcomes] == [1, 2, 1, 0, 2]
    assert [outcome.complete for outcome in outcomes] == [False, False, False, False, True]
    assert outcomes[-1].chunks == 2
    assert [await found(store, word) for word in ("old0", "old2", "new0", "new1")] == [[], [], ["new0"], ["new1"]]


async def test_complete_job_stays_as_it_is_when_run_by_another_recipe(store: Store) -> None:
    await store.add_batch("default", "m0", run_at(1.0, batch("old words"), "r1"), vectors("x"))
    for number in range(3):
        again = run_at(2.0, batch(f"new{number}", number=number, batches=3), "r2")
        await store.add_batch("default", f"again{number}", again, vectors("x"))
    assert (await found(store, "words"), await found(store, "new2")) == (["old words"], [])


async def test_passages_learn_their_headings_when_read_again(store: Store) -> None:
    """Those that an older release stored have none, and the recipe is the same."""
    old = batch("Notice\nThree months.")
    read = old.model_copy(
        update={"job_id": "job-2", "chunks": (old.chunks[0].model_copy(update={"headings": ((0, 6),)}),)}
    )
    for number, sent in enumerate((old, read)):
        await store.add_batch("default", f"m{number}", sent, vectors("notice"))
        (hit,) = await store.search_chunks("default", "months", query("notice"), top_k=9)
        assert hit.chunk.headings == sent.chunks[0].headings


async def test_superseding_document_removes_old(store: Store) -> None:
    await store.add_batch("default", "m1", batch("version one"), vectors("one"))
    await store.add_batch(
        "default", "m2", batch("version two", document="doc-2", job="job-2", replace="doc-1"), vectors("two")
    )
    assert await store.get_document("default", "doc-1") is None
    assert await found(store, "version") == ["version two"]


async def test_same_content_twice_is_once(store: Store) -> None:
    await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))
    await store.add_batch("default", "m2", batch("alpha", job="job-2"), vectors("alpha"))
    assert [hit.chunk.text for hit in await store.search_chunks("default", "alpha", query("alpha"))] == ["alpha"]
    assert (await store.stats("default")).vectors == 1


async def test_changed_model_replaces_vectors(store: Store) -> None:
    await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))
    await store.search_chunks("default", "alpha", query("alpha"))
    await store.add_batch("default", "m2", batch("alpha", job="job-2"), vectors("alpha", model="other"))
    (hit,) = await store.search_chunks("default", "alpha", query("alpha"))
    assert hit.similarity == 0.0
    assert (await store.stats("default")).vectors == 1


async def test_ready_document_is_never_queued(store: Store) -> None:
    await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))
    assert await store.queue_document("default", "m2", info(job="job-2"))
    assert not await store.queue_document("default", "m2", info(job="job-2"))
    await store.fail_document("default", "m3", failure(job="job-2"))
    document = await store.get_document("default", "doc-1")
    assert document is not None
    assert document.status == "ready"


async def test_failed_document_keeps_reason(store: Store) -> None:
    await store.queue_document("default", "m0", info())
    await store.add_batch("default", "m1", batch("alpha", batches=2), vectors("alpha"))
    assert await store.fail_document("default", "m2", failure())
    document = await store.get_document("default", "doc-1")
    assert document is not None
    assert document.error is not None
    assert (document.status, document.error.code) == ("failed", "corrupt_pdf")


async def test_failed_job_can_be_replayed(store: Store) -> None:
    await store.add_batch("default", "m1", batch("alpha", batches=2), vectors("alpha"))
    await store.fail_document("default", "m9", failure())
    for number in (0, 1):
        sent = batch("alpha", number=number, batches=2), vectors("alpha")
        outcome = await store.add_batch("default", f"m{number + 1}", *sent)
    assert outcome.complete
    document = await store.get_document("default", "doc-1")
    assert document is not None
    assert (document.status, document.error) == ("ready", None)


async def test_bytes_are_loose_when_no_document_has_them(store: Store) -> None:
    for tenant, document in (("default", "doc-1"), ("acme", "doc-2")):
        held = info(document, job=f"job-{tenant}").model_copy(update={"blob": "blob:sha256:aa:1"})
        await store.queue_document(tenant, f"m-{tenant}", held)
    await store.delete_document("default", "m1", "doc-1")
    assert await store.loose_blobs(0.0) == []
    await store.cancel_job("acme", "m2", "job-acme")
    assert await store.loose_blobs(60.0) == []
    assert await store.loose_blobs(0.0) == ["blob:sha256:aa:1"]
    await store.forget_blobs(["blob:sha256:aa:1"])
    assert await store.loose_blobs(0.0) == []


async def test_bytes_uploaded_again_stay(store: Store) -> None:
    held = info().model_copy(update={"blob": "blob:sha256:aa:1"})
    await store.queue_document("default", "m1", held)
    await store.delete_document("default", "m2", "doc-1")
    await store.queue_document("default", "m3", held.model_copy(update={"job_id": "job-2"}))
    assert await store.loose_blobs(0.0) == []


async def test_deleted_document_is_gone(store: Store, path: Path) -> None:
    await store.add_batch("default", "m1", batch("xylophone 北京大学"), vectors("music"))
    assert await store.search_chunks("default", "", query("music"))
    assert await store.delete_document("default", "m2", "doc-1")
    assert await store.delete_document("default", "m2", "doc-1")
    assert not await store.delete_document("default", "m3", "doc-1")
    assert await store.search_chunks("default", "xylophone 北京大学", query("music")) == []
    assert (await store.stats("default")).vectors == 0
    with sqlite3.connect(path) as raw:
        for table in ("chunks", "vectors", "documents"):
            assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        for match in ("chunk_words MATCH 'xylophone'", "chunk_grams MATCH '北京大'"):
            assert raw.execute(f"SELECT count(*) FROM {match.split()[0]} WHERE {match}").fetchone() == (0,)
    raw.close()


async def test_late_batches_resurrect_nothing(store: Store) -> None:
    await store.queue_document("default", "m0", info())
    await store.add_batch("default", "m1", batch("alpha", batches=2), vectors("alpha"))
    await store.delete_document("default", "m2", "doc-1")
    late = await store.add_batch("default", "m3", batch("beta", number=1, batches=2), vectors("beta"))
    assert late.dropped
    assert await store.list_documents("default") == ([], 0)
    new_job = await store.add_batch("default", "m4", batch("alpha", job="job-2"), vectors("alpha"))
    assert new_job.complete


async def test_cancelled_job_leaves_nothing(store: Store) -> None:
    await store.queue_document("default", "m0", info())
    await store.add_batch("default", "m1", batch("alpha", batches=2), vectors("alpha"))
    assert await store.cancel_job("default", "m2", "job-1")
    late = await store.add_batch("default", "m3", batch("beta", number=1, batches=2), vectors("beta"))
    await store.queue_document("default", "m4", info())
    assert late.dropped
    assert not late.new
    assert await store.get_document("default", "doc-1") is None


async def test_cancelling_after_the_end_changes_nothing(store: Store) -> None:
    await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))
    await store.cancel_job("default", "m2", "job-1")
    assert await found(store, "alpha") == ["alpha"]


async def test_catalogue_lists_newest_first(store: Store) -> None:
    for number in range(5):
        await store.queue_document("default", f"m{number}", info(f"doc-{number}", f"job-{number}", 100.0 + number))
    page, total = await store.list_documents("default", limit=2, offset=1)
    assert [document.id for document in page] == ["doc-3", "doc-2"]
    assert total == 5


async def test_catalogue_is_searched_by_name(store: Store) -> None:
    for name in ("Annual report 50%.pdf", "annual-plan.pdf", "notes.md"):
        await store.queue_document(
            "default", f"m-{name}", info(f"doc-{name}", f"job-{name}").model_copy(update={"filename": name})
        )
    for words, expected in (("ANNUAL", 2), ("0%", 1), ("a%n", 0), ("_", 0), ("\0", 0), ("", 3)):
        page, total = await store.list_documents("default", words=words)
        assert (words, len(page), total) == (words, expected, expected)


async def test_empty_document_is_ready(store: Store) -> None:
    outcome = await store.add_batch("default", "m1", batch(), vectors())
    assert outcome.complete
    assert (await store.stats("default")).documents == 1


async def test_misfit_vectors_are_refused(store: Store) -> None:
    with pytest.raises(VectorsRejected):
        await store.add_batch("default", "m1", batch("alpha", "beta"), vectors("alpha"))
    assert (await store.add_batch("default", "m1", batch("alpha"), vectors("alpha"))).new


async def test_stats_count_what_is_searchable(store: Store) -> None:
    await store.add_batch("default", "m1", batch("alpha", "beta"), vectors(("a", "b"), "c"))
    await store.queue_document("default", "m2", info("doc-2", "job-2"))
    stats = await store.stats("default")
    assert (stats.documents, stats.chunks, stats.vectors, stats.files) == (1, 2, 3, ("doc-1.txt",))
    assert stats.bytes_on_disk > 9
    assert (await store.stats("nobody")).documents == 0
