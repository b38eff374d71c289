"""The table of everything the gateway answers. The server and the OpenAPI document are both built from it."""

from functools import cache
from importlib.metadata import version

from starlette.types import ASGIApp

from archive_contracts.documents import DocumentInfo
from archive_contracts.jobs import Job
from archive_gateway.routes.answers import Json
from archive_gateway.routes.compat import agent, chat, library, memories, research
from archive_gateway.routes.desk import Desk
from archive_gateway.routes.openai import chat as openai_chat
from archive_gateway.routes.openai import chat_body, embeddings, models, shapes
from archive_gateway.routes.openapi import document
from archive_gateway.routes.platform import documents, engines, jobs, probes
from archive_gateway.routes.table import Endpoint
from archive_gateway.routes.visit import Visit

_ENGINE = {
    "x-archive-engine": "The engine that answered, when the answer is whole.",
    "x-archive-overhead-ms": "Time spent outside the engine, when the answer is whole.",
    "x-archive-stream": "The id of a streamed answer.",
}

OPENAI = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        handler=openai_chat.create_chat_completion,
        summary="Answer a conversation",
        tag="openai",
        body=chat_body.ChatHead,
        answer=shapes.ChatCompletion,
        events={"": shapes.ChatCompletionChunk},
        headers=_ENGINE,
        errors=(404, 422, 429, 502, 504),
        description="The body reaches the engine untouched, the answer returns untouched.",
    ),
    Endpoint(
        method="POST",
        path="/v1/embeddings",
        handler=embeddings.create_embedding,
        summary="Turn texts into vectors",
        tag="openai",
        body=embeddings.EmbeddingRequest,
        answer=embeddings.EmbeddingList,
        errors=(404, 422, 429, 502, 504),
    ),
    Endpoint(
        method="POST",
        path="/v1/completions",
        handler=openai_chat.create_completion,
        summary="Continue a text",
        tag="openai",
        body=chat_body.CompletionHead,
        answer=shapes.Completion,
        events={"": shapes.Completion},
        headers=_ENGINE,
        errors=(404, 422, 429, 502, 504),
    ),
    Endpoint(
        method="GET",
        path="/v1/models",
        handler=models.list_models,
        summary="List the models of healthy engines",
        tag="openai",
        answer=models.ModelList,
    ),
    Endpoint(
        method="GET",
        path="/v1/models/{model:path}",
        handler=models.get_model,
        summary="Look up a model",
        tag="openai",
        answer=models.ModelObject,
        errors=(404,),
    ),
)

PLATFORM = (
    Endpoint(
        method="POST",
        path="/v1/documents",
        handler=documents.create_document,
        summary="Upload files to be made searchable",
        tag="documents",
        upload=documents.Upload,
        answer=documents.Accepted,
        several=documents.AcceptedList,
        status=202,
        errors=(415,),
        description="Several files in one form are answered by a list.",
    ),
    Endpoint(
        method="GET",
        path="/v1/documents",
        handler=documents.list_documents,
        summary="List the library, newest first",
        tag="documents",
        query=documents.Page,
        answer=documents.DocumentList,
        errors=(504,),
    ),
    Endpoint(
        method="GET",
        path="/v1/documents/{document}",
        handler=documents.get_document,
        summary="Look up a document",
        tag="documents",
        answer=DocumentInfo,
        errors=(404, 504),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/documents/{document}",
        handler=documents.delete_document,
        summary="Remove a document with its chunks and vectors",
        tag="documents",
        answer=documents.DeletedDocument,
        errors=(404, 504),
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{job}",
        handler=jobs.get_job,
        summary="Look up a job",
        tag="jobs",
        answer=Job,
        errors=(404,),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/jobs/{job}",
        handler=jobs.cancel_job,
        summary="Cancel a job",
        tag="jobs",
        answer=Job,
        errors=(404,),
        description="A job that has ended is returned as it is.",
    ),
    Endpoint(
        method="GET",
        path="/v1/jobs/{job}/events",
        handler=jobs.follow_job,
        summary="Follow a job",
        tag="jobs",
        events={"job": Job},
        errors=(404,),
        description="Continues after `Last-Event-ID`; 204 when nothing follows any more.",
    ),
    Endpoint(
        method="GET",
        path="/v1/engines",
        handler=engines.list_engines,
        summary="List the engine workers that are alive",
        tag="engines",
        answer=engines.EngineList,
    ),
)

COMPAT = (
    Endpoint(
        method="POST",
        path="/chat",
        handler=chat.chat,
        summary="Answer one message",
        tag="assistant",
        body=chat.ChatMessageIn,
        answer=chat.ChatMessageOut,
        errors=(404, 429, 502, 504),
    ),
    Endpoint(
        method="POST",
        path="/research",
        handler=research.research,
        summary="Answer a question from library and memory, with sources",
        tag="assistant",
        body=research.ResearchQuestion,
        answer=research.ResearchAnswer,
        events={
            "source": research.ResearchSource,
            "delta": research.ResearchDelta,
            "done": research.ResearchAnswer,
        },
        errors=(404, 429, 502, 504),
        description="Streamed when asked for; a stream that fails ends with an event `error`.",
    ),
    Endpoint(
        method="POST",
        path="/agent",
        handler=agent.run_agent,
        summary="Work on a question in steps",
        tag="assistant",
        body=agent.AgentQuestion,
        answer=agent.AgentAnswer,
        errors=(404, 429, 502, 504),
    ),
    Endpoint(
        method="POST",
        path="/agent/advanced",
        handler=agent.run_advanced_agent,
        summary="Work on a question in steps, with memory and library",
        tag="assistant",
        body=agent.AgentQuestion,
        answer=agent.AgentAnswer,
        errors=(404, 429, 502, 504),
    ),
    Endpoint(
        method="POST",
        path="/library/search",
        handler=library.search_library,
        summary="Find passages by words and by meaning",
        tag="library",
        body=library.LibraryQuery,
        answer=library.LibraryResults,
        errors=(504,),
    ),
    Endpoint(
        method="GET",
        path="/library/stats",
        handler=library.library_stats,
        summary="Say how much is in the library",
        tag="library",
        answer=library.LibraryNumbers,
        errors=(504,),
    ),
    Endpoint(
        method="GET",
        path="/memories",
        handler=memories.list_memories,
        summary="List what is remembered, newest first",
        tag="memories",
        query=memories.MemoryPage,
        answer=memories.MemoryList,
        errors=(504,),
    ),
    Endpoint(
        method="POST",
        path="/memories/search",
        handler=memories.search_memories,
        summary="Find remembered turns",
        tag="memories",
        body=memories.MemoryQuery,
        answer=memories.MemoryList,
        errors=(504,),
    ),
    Endpoint(
        method="GET",
        path="/memories/{memory}",
        handler=memories.get_memory,
        summary="Look up a remembered turn",
        tag="memories",
        answer=memories.Memory,
        errors=(404, 504),
    ),
    Endpoint(
        method="DELETE",
        path="/memories/{memory}",
        handler=memories.forget_memory,
        summary="Forget a remembered turn",
        tag="memories",
        answer=memories.MemoryDeleted,
        errors=(404, 504),
    ),
)


async def openapi(desk: Desk, visit: Visit) -> ASGIApp:
    """Return this description."""
    return Json(_document())


PROBES = (
    Endpoint(
        method="GET",
        path="/health",
        handler=probes.health,
        summary="Say whether the gateway can do its work",
        tag="probes",
        answer=probes.Health,
    ),
    Endpoint(
        method="GET",
        path="/livez",
        handler=probes.livez,
        summary="Say whether a restart would help",
        tag="probes",
        answer=probes.Health,
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        handler=probes.readyz,
        summary="Say whether requests may be sent here",
        tag="probes",
        answer=probes.Health,
    ),
    Endpoint(
        method="GET",
        path="/",
        handler=probes.welcome,
        summary="Say what this is",
        tag="probes",
        answer=probes.Welcome,
    ),
    Endpoint(method="GET", path="/openapi.json", handler=openapi, summary="Describe everything above", tag="probes"),
)

ENDPOINTS: tuple[Endpoint, ...] = (*OPENAI, *COMPAT, *PLATFORM, *PROBES)


@cache
def _document() -> bytes:
    return document(ENDPOINTS, version=version("archive-gateway"))
