"""What of OpenAI's API is answered here."""

from archive_gateway.routes.openai import chat, chat_body, embeddings, models, rerank, shapes, streams
from archive_gateway.routes.table import Face

_openai = Face("openai", scope="inference")
_ENGINE = {
    "x-archive-engine": "The engine that answers; a stream that began with a ping goes without.",
    "x-archive-overhead-ms": "Time spent outside the engine; of a stream, until its first piece.",
    "x-archive-stream": "The id of a streamed answer.",
}
_ASKED = (404, 422, 429, 502, 504)
"""What can happen to a request that a model has to answer."""

OPENAI = (
    _openai.post(
        "/v1/chat/completions",
        chat.create_chat_completion,
        body=chat_body.ChatHead,
        answer=shapes.ChatCompletion,
        events={"": shapes.ChatCompletionChunk},
        headers=_ENGINE,
        errors=_ASKED,
        description="The body reaches the engine untouched, the answer returns untouched.",
    ),
    _openai.post(
        "/v1/embeddings",
        embeddings.create_embedding,
        body=embeddings.EmbeddingRequest,
        answer=embeddings.EmbeddingList,
        headers={name: _ENGINE[name] for name in ("x-archive-engine", "x-archive-overhead-ms")},
        errors=_ASKED,
    ),
    _openai.post(
        "/v1/completions",
        chat.create_completion,
        body=chat_body.CompletionHead,
        answer=shapes.Completion,
        events={"": shapes.Completion},
        headers=_ENGINE,
        errors=_ASKED,
    ),
    _openai.get("/v1/models", models.list_models, answer=models.ModelList),
    _openai.get("/v1/models/{model:path}", models.get_model, answer=models.ModelObject, errors=(404,)),
    _openai.get(
        "/v1/streams/{stream}",
        streams.resume_stream,
        events={"": shapes.ChatCompletionChunk},
        headers={"x-archive-stream": "The id of the stream."},
        errors=(404,),
        description="204 when nothing follows any more.",
    ),
    _openai.post(
        "/v1/rerank",
        rerank.rerank,
        body=rerank.RerankRequest,
        answer=rerank.RerankAnswer,
        headers=_ENGINE,
        errors=_ASKED,
    ),
)
