"""Questions about documents and their chunks."""

from archive_bus import Delivery
from archive_contracts.memory import (
    ChunksFound,
    DocumentsFound,
    DocumentText,
    GetDocument,
    GetDocumentText,
    GetLibraryStats,
    ListDocuments,
    SearchChunks,
)
from archive_memory.domain.port import Catalogue
from archive_memory.handlers.documents import no_document
from archive_memory.handlers.embedding import Embedder


class Library:
    """Answers from the catalogue and the chunks."""

    def __init__(self, catalogue: Catalogue, embedder: Embedder) -> None:
        self._catalogue = catalogue
        self._embedder = embedder

    async def search(self, delivery: Delivery[SearchChunks]) -> None:
        """Answer with the passages nearest to a query."""
        query, tenant = delivery.message, delivery.envelope.tenant
        searchable = await self._catalogue.searchable_documents(tenant)
        if not searchable:
            await delivery.reply(ChunksFound(hits=(), documents=0))
            return
        vector = await self._embedder.query(delivery, query.query)
        hits = await self._catalogue.search_chunks(
            tenant,
            query.query,
            vector,
            top_k=query.top_k,
            document_ids=query.document_ids,
            formats=query.formats,
        )
        await delivery.reply(ChunksFound(hits=tuple(hits), documents=searchable))

    async def page(self, delivery: Delivery[ListDocuments]) -> None:
        """Answer with a page of the catalogue."""
        query = delivery.message
        documents, total = await self._catalogue.list_documents(
            delivery.envelope.tenant, query.limit, query.offset, words=query.words
        )
        await delivery.reply(DocumentsFound(documents=tuple(documents), total=total))

    async def get(self, delivery: Delivery[GetDocument]) -> None:
        """Answer with one row of the catalogue."""
        document_id = delivery.message.document_id
        found = await self._catalogue.get_document(delivery.envelope.tenant, document_id)
        if found is None or found.status == "deleted":
            await delivery.fail(no_document(document_id))
        else:
            await delivery.reply(DocumentsFound(documents=(found,), total=1))

    async def text(self, delivery: Delivery[GetDocumentText]) -> None:
        """Answer with the passages of a document."""
        query, tenant = delivery.message, delivery.envelope.tenant
        found = await self._catalogue.get_document(tenant, query.document_id)
        if found is None or found.status == "deleted":
            await delivery.fail(no_document(query.document_id))
            return
        pages = (query.first_page, query.last_page)
        chunks, total = await self._catalogue.document_text(
            tenant, query.document_id, pages=pages, limit=query.limit, offset=query.offset
        )
        await delivery.reply(DocumentText(document=found, chunks=tuple(chunks), total=total))

    async def stats(self, delivery: Delivery[GetLibraryStats]) -> None:
        """Answer with how much there is."""
        await delivery.reply(await self._catalogue.stats(delivery.envelope.tenant))
