"""What the handlers need from the store."""

from collections.abc import Sequence
from typing import Protocol

from archive_contracts.documents import Chunk, DocumentChunked, DocumentFailed, DocumentInfo
from archive_contracts.memory import ChunkHit, LibraryStats, MemoryItem
from archive_memory.domain.catalogue import BatchOutcome, NewTurn
from archive_memory.domain.windows import QueryVector, WindowVectors


class Catalogue(Protocol):
    """Documents and their chunks. Changes carry the id of the message that asked for them and happen once."""

    async def queue_document(self, tenant: str, message_id: str, info: DocumentInfo) -> bool:
        """Enter a document whose job begins."""
        ...

    async def add_batch(
        self, tenant: str, message_id: str, batch: DocumentChunked, vectors: WindowVectors
    ) -> BatchOutcome:
        """Store chunks with their vectors."""
        ...

    async def fail_document(self, tenant: str, message_id: str, failed: DocumentFailed) -> bool:
        """Enter why a document could not be read."""
        ...

    async def cancel_job(self, tenant: str, message_id: str, job_id: str) -> bool:
        """Drop what is still to come of a job."""
        ...

    async def delete_document(self, tenant: str, message_id: str, document_id: str) -> bool:
        """Remove a document; False when there was none."""
        ...

    async def get_document(self, tenant: str, document_id: str) -> DocumentInfo | None:
        """Return a row of the catalogue."""
        ...

    async def document_text(
        self, tenant: str, document_id: str, *, pages: tuple[int, int | None], limit: int, offset: int
    ) -> tuple[list[Chunk], int]:
        """Return passages that touch the pages from the first to the last, in order, and how many there are."""
        ...

    async def list_documents(
        self, tenant: str, limit: int = 100, offset: int = 0, *, words: str = ""
    ) -> tuple[list[DocumentInfo], int]:
        """Return rows of the catalogue and how many there are; with ``words`` those whose name or title holds it."""
        ...

    async def searchable_documents(self, tenant: str) -> int:
        """Return how many documents can be searched."""
        ...

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
        """Return passages, best first."""
        ...

    async def stats(self, tenant: str) -> LibraryStats:
        """Return how much there is."""
        ...


class Conversations(Protocol):
    """What was said."""

    async def remember_turns(
        self, tenant: str, message_id: str, said: Sequence[NewTurn], vectors: WindowVectors | None = None
    ) -> list[MemoryItem]:
        """Store what was said; return what this message stored."""
        ...

    async def recall(
        self,
        tenant: str,
        query: str,
        vector: QueryVector | None = None,
        *,
        top_k: int = 10,
        session: str | None = None,
    ) -> list[MemoryItem]:
        """Return turns, best first."""
        ...

    async def list_turns(self, tenant: str, limit: int = 50, offset: int = 0) -> tuple[list[MemoryItem], int]:
        """Return turns, newest first, and how many there are."""
        ...

    async def get_turn(self, tenant: str, memory_id: str) -> MemoryItem | None:
        """Return a turn."""
        ...

    async def forget_turn(self, tenant: str, message_id: str, memory_id: str) -> bool:
        """Remove a turn; False when there was none."""
        ...

    async def forget_session(self, tenant: str, message_id: str, session: str) -> bool:
        """Remove all turns of a session; False when it had none."""
        ...
