"""A partition of memory: one SQLite file as the truth, vector indexes as its cache, one process as its owner."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import anyio.to_thread

from archive_bus import once
from archive_contracts.documents import Chunk, DocumentChunked, DocumentFailed, DocumentInfo
from archive_contracts.memory import ChunkHit, LibraryStats, MemoryItem
from archive_memory.adapters import catalogue, documents, ledger, schema, turns
from archive_memory.adapters.change import Change
from archive_memory.adapters.connections import Ownership, Readers, connect, translated
from archive_memory.adapters.search import Search
from archive_memory.adapters.vectors import Backend, Model, Shelf, keep_model
from archive_memory.adapters.writer import Transaction, Writer
from archive_memory.domain.catalogue import BatchOutcome, NewTurn
from archive_memory.domain.fusion import ChunkWeights, TurnWeights
from archive_memory.domain.windows import QueryVector, WindowVectors

T = TypeVar("T")

_READERS = 4


class Store:
    """Documents, chunks and chat turns of many tenants.

    Every change carries the id of the message that asked for it; both are one transaction. A message that comes again
    changes nothing and gets the answer it got. Every method raises `StoreFault` when the file or the disk fails.

        async with Store(Path("mem-0.db")) as store:
            await store.add_batch("default", message.id, batch, vectors)
            hits = await store.search_chunks("default", "who built it?", vector, top_k=5)
    """

    def __init__(
        self,
        path: Path,
        *,
        backend: Backend = "exact",
        chunk_weights: ChunkWeights | None = None,
        turn_weights: TurnWeights | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._clock = clock
        self._owner = Ownership(path)
        self._readers = Readers(path, _READERS)
        self._writer = Writer(path)
        self._shelf = Shelf(self._readers, path, backend)
        self._search = Search(self._shelf, chunk_weights or ChunkWeights(), turn_weights or TurnWeights())

    async def __aenter__(self) -> Store:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Take the partition, check and migrate its file, start writing.

        Raises:
            StoreLocked: another process owns it.
            StoreCorrupt: the file is damaged or is no store.
            StoreVersion: a newer release wrote it.
        """
        await anyio.to_thread.run_sync(self._start)

    async def close(self) -> None:
        """Finish what was accepted and let the partition go."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._stop)

    async def queue_document(self, tenant: str, message_id: str, info: DocumentInfo) -> bool:
        """Enter a document whose job begins; one that can be searched stays so. Return whether this was new."""
        return await self._once(tenant, message_id, lambda change: _true(documents.queue(change, info)), again=False)

    async def add_batch(
        self, tenant: str, message_id: str, batch: DocumentChunked, vectors: WindowVectors
    ) -> BatchOutcome:
        """Store a batch of chunks with their vectors.

        They can be found when the job's last batch is there; then, too, chunks of another recipe go, and the document
        that this one replaces. A batch is known by its job and number, not by its message alone: a job that failed
        and is replayed sends its batches under their old message ids, and they must count again.

        Raises:
            VectorsRejected: the vectors do not fit the chunks, or their model's earlier ones.
        """
        per_chunk = vectors.per_text(len(batch.chunks))

        def apply(tx: Transaction) -> BatchOutcome:
            change = self._change(tx, tenant)
            model = _model(tx.connection, vectors)
            outcome = documents.add_batch(change, batch, per_chunk, model)
            change.ledger.record(message_id, int(outcome.complete))
            return outcome

        return await self._writer.run(apply)

    async def fail_document(self, tenant: str, message_id: str, failed: DocumentFailed) -> bool:
        """Enter why a document could not be read. Return whether this was new."""
        return await self._once(tenant, message_id, lambda change: _true(documents.fail(change, failed)), again=False)

    async def cancel_job(self, tenant: str, message_id: str, job_id: str) -> bool:
        """End a job that is not complete; batches still on their way are dropped. Return whether this was new."""
        return await self._once(tenant, message_id, lambda change: _true(documents.cancel(change, job_id)), again=False)

    async def delete_document(self, tenant: str, message_id: str, document_id: str) -> bool:
        """Remove a document, its chunks, words and vectors. Return whether there was one."""
        return await self._once(tenant, message_id, lambda change: documents.delete(change, document_id))

    async def get_document(self, tenant: str, document_id: str) -> DocumentInfo | None:
        """Return a row of the catalogue."""
        return await self._ask(tenant, None, lambda c, number: catalogue.find(c, number, document_id))

    async def list_documents(
        self, tenant: str, limit: int = 100, offset: int = 0, *, words: str = ""
    ) -> tuple[list[DocumentInfo], int]:
        """Return rows of the catalogue, newest first, and how many there are; with ``words`` those called so."""
        return await self._ask(tenant, ([], 0), lambda c, number: catalogue.page(c, number, words, (limit, offset)))

    async def document_text(
        self, tenant: str, document_id: str, *, pages: tuple[int, int | None], limit: int, offset: int
    ) -> tuple[list[Chunk], int]:
        """Return passages that touch the pages from the first to the last, in order, and how many there are."""
        return await self._ask(
            tenant, ([], 0), lambda c, number: catalogue.text(c, number, document_id, pages, (limit, offset))
        )

    async def searchable_documents(self, tenant: str) -> int:
        """Return how many documents can be searched."""
        return await self._ask(tenant, 0, lambda c, number: catalogue.searchable_documents(c, number, (), ())[1])

    async def search_chunks(
        self,
        tenant: str,
        query: str,
        vector: QueryVector | None = None,
        *,
        top_k: int = 5,
        document_ids: Sequence[str] = (),
        formats: Sequence[str] = (),
    ) -> list[ChunkHit]:
        """Return the passages nearest to a query, best first; without a vector by words alone, similarity then 0.

        Raises:
            VectorsRejected: the vector has another dimension than its model's stored ones.
        """
        return await self._readers.run(
            lambda c: self._search.chunks(
                c, tenant, query, vector, top_k=top_k, document_ids=document_ids, formats=formats
            )
        )

    async def remember_turns(
        self, tenant: str, message_id: str, said: Sequence[NewTurn], vectors: WindowVectors | None = None
    ) -> list[MemoryItem]:
        """Store what was said, each once a session; return what this message stored, now or when it came before."""
        per_turn = vectors.per_text(len(said)) if vectors else []

        def apply(tx: Transaction) -> list[MemoryItem]:
            change = self._change(tx, tenant)

            def remember() -> int:
                model = _model(tx.connection, vectors) if vectors else None
                turns.remember(change, tenant, message_id, said, (model, per_turn) if model else None)
                return 1

            once(change.ledger, message_id, remember)
            return turns.of_message(tx.connection, change.tenant, message_id)

        return await self._writer.run(apply)

    async def recall(
        self,
        tenant: str,
        query: str,
        vector: QueryVector | None = None,
        *,
        top_k: int = 10,
        session: str | None = None,
    ) -> list[MemoryItem]:
        """Return the turns nearest to a query, best first; of one session only, when named."""
        return await self._readers.run(
            lambda c: self._search.turns(c, tenant, query, vector, top_k=top_k, session=session)
        )

    async def list_turns(self, tenant: str, limit: int = 50, offset: int = 0) -> tuple[list[MemoryItem], int]:
        """Return turns, newest first, and how many there are."""
        return await self._ask(tenant, ([], 0), lambda c, number: turns.page(c, number, limit, offset))

    async def get_turn(self, tenant: str, memory_id: str) -> MemoryItem | None:
        """Return a turn."""
        return await self._ask(tenant, None, lambda c, number: turns.find(c, number, memory_id))

    async def forget_turn(self, tenant: str, message_id: str, memory_id: str) -> bool:
        """Remove a turn, its words and vectors. Return whether there was one."""
        return await self._once(tenant, message_id, lambda change: turns.forget(change, memory_id))

    async def forget_session(self, tenant: str, message_id: str, session: str) -> bool:
        """Remove all turns of a session. Return whether it had any."""
        return await self._once(tenant, message_id, lambda change: turns.forget_session(change, session))

    async def stats(self, tenant: str) -> LibraryStats:
        """Return how much a tenant has."""
        nothing = LibraryStats(documents=0, chunks=0, vectors=0, memories=0)
        return await self._ask(tenant, nothing, catalogue.stats)

    async def check(self) -> None:
        """Raise StoreFault unless changes can be committed; for a probe."""
        await self._writer.run(lambda _: None)

    async def prune(self, older_than_s: float = ledger.KEEP_S) -> int:
        """Forget message ids, batches and ended jobs older than that; return how many message ids."""
        before = self._clock() - older_than_s
        return await self._writer.run(lambda tx: ledger.prune(tx.connection, before))

    async def loose_blobs(self, grace_s: float) -> list[str]:
        """Return references of bytes that no document of any tenant has had for so long."""
        before = self._clock() - grace_s
        return await self._writer.run(lambda tx: documents.loose_blobs(tx.connection, before))

    async def forget_blobs(self, blobs: Sequence[str]) -> None:
        """Note that these bytes are gone."""
        await self._writer.run(lambda tx: documents.forget_blobs(tx.connection, blobs))

    def _start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._owner.take()
        try:
            with translated():
                connection = connect(self._path)
                try:
                    schema.check(connection)
                    schema.migrate(connection)
                finally:
                    connection.close()
                self._writer.start()
            self._readers.start()
        except BaseException:  # whatever kept it from starting, the next one may take the folder
            self._owner.release()
            raise

    def _stop(self) -> None:
        self._writer.stop()
        self._shelf.close()
        self._readers.close()
        self._owner.release()

    def _change(self, tx: Transaction, tenant: str) -> Change:
        return Change(tx, ledger.keep_tenant(tx.connection, tenant), self._clock(), self._shelf)

    async def _once(
        self, tenant: str, message_id: str, do: Callable[[Change], bool], *, again: bool | None = None
    ) -> bool:
        """Make a change unless its message made it before; return its result, for a repeated one that of the first
        time or ``again``."""

        def apply(tx: Transaction) -> bool:
            change = self._change(tx, tenant)
            ran = False

            def effect() -> int:
                nonlocal ran
                ran = True
                return int(do(change))

            result = bool(once(change.ledger, message_id, effect))
            return result if ran or again is None else again

        return await self._writer.run(apply)

    async def _ask(self, tenant: str, nothing: T, query: Callable[[sqlite3.Connection, int], T]) -> T:
        """Answer from a reader's connection; ``nothing`` for a tenant that has stored nothing."""

        def ask(connection: sqlite3.Connection) -> T:
            number = ledger.find_tenant(connection, tenant)
            return nothing if number is None else query(connection, number)

        return await self._readers.run(ask)


def _model(connection: sqlite3.Connection, vectors: WindowVectors) -> Model | None:
    """Return the vectors' model, None when there are none."""
    return keep_model(connection, vectors.model, vectors.values.shape[1]) if len(vectors.values) else None


def _true(_: None) -> bool:
    return True
