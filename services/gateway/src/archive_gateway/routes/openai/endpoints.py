"""What of OpenAI's API is answered here."""

from archive_gateway.routes.openai import chat, chat_body, embeddings, models, shapes, streams
from archive_gateway.routes.table import Endpoint

_ENGINE = {
    "x-archive-engine": "The engine that answers; a stream that began with a ping goes without.",
    "x-archive-overhead-ms": "Time spent outside the engine, when the answer is whole.",
    "x-archive-stream": "The id of a streamed answer.",
}

OPENAI = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        handler=chat.create_chat_completion,
        summary="Answer a conversation",
        tag="openai",
        scope="inference",
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
        scope="inference",
        body=embeddings.EmbeddingRequest,
        answer=embeddings.EmbeddingList,
        errors=(404, 422, 429, 502, 504),
    ),
    Endpoint(
        method="POST",
        path="/v1/completions",
        handler=chat.create_completion,
        summary="Continue a text",
        tag="openai",
        scope="inference",
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
        scope="inference",
        answer=models.ModelList,
    ),
    Endpoint(
        method="GET",
        path="/v1/models/{model:path}",
        handler=models.get_model,
        summary="Look up a model",
        tag="openai",
        scope="inference",
        answer=models.ModelObject,
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/v1/streams/{stream}",
        handler=streams.resume_stream,
        summary="Go on with a streamed answer",
        tag="openai",
        scope="inference",
        events={"": shapes.ChatCompletionChunk},
        headers={"x-archive-stream": "The id of the stream."},
        errors=(404,),
        description="Continues after `Last-Event-ID`, else from the beginning; 204 when nothing follows any more.",
    ),
)
