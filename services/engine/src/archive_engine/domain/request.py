"""The body that goes to an engine: the client's own, with as little changed as the case needs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from archive_contracts.engine import GenerateRequested, Parameters, Resumption

Json = dict[str, Any]

_USAGE = '"stream_options":{"include_usage":true}'
_LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A body, and whether the chunk with usage at the end was our wish and not the client's."""

    body: str
    hides_usage: bool = False


def outgoing(job: GenerateRequested, *, meter: bool) -> Outgoing:
    """Return what to send: byte for byte what the client sent where model, parameters and metering allow it.

    ``meter`` asks for usage at the end of a stream, so that it need not be estimated.
    """
    request = job.request
    body = request.body
    if job.model != request.model or job.parameters or job.resumption:
        body = _changed(body, job)
    return _metered(body) if meter and request.stream and request.kind != "rerank" else Outgoing(body)


def _changed(body: str, job: GenerateRequested) -> str:
    fields = cast("Json", json.loads(body))
    fields["model"] = job.model
    if job.parameters:
        _put_in(fields, job.parameters)
    if job.resumption:
        _go_on(fields, job.resumption, kind=job.request.kind)
    return _encoded(fields)


def _put_in(fields: Json, parameters: Parameters) -> None:
    if parameters.temperature is not None and fields.get("temperature") is None:
        fields["temperature"] = parameters.temperature
    if parameters.max_tokens is not None and all(fields.get(name) is None for name in _LIMITS):
        fields["max_tokens"] = parameters.max_tokens


def _go_on(fields: Json, resumption: Resumption, *, kind: str) -> None:
    """Let the engine go on from what was written: by a last message of the assistant, or behind the prompt.

    The two flags make vLLM and SGLang continue that message; llama.cpp does so by itself and ignores them.
    """
    for name in _LIMITS:
        if isinstance(fields.get(name), int):
            fields[name] = max(1, fields[name] - resumption.completion_tokens)
    if kind == "completion":
        fields["prompt"] = f"{fields.get('prompt', '')}{resumption.text}"
        fields.pop("echo", None)
        return
    messages = cast("list[Any]", fields.get("messages") or [])
    fields["messages"] = [*messages, {"role": "assistant", "content": resumption.text}]
    fields |= {"continue_final_message": True, "add_generation_prompt": False}


def _metered(body: str) -> Outgoing:
    if '"stream_options"' not in body:
        # Decoding and encoding a long conversation for one field would cost more than the rest of the worker's part.
        end = body.rstrip()
        if end.endswith("}") and not end.removesuffix("}").rstrip().endswith("{"):
            return Outgoing(f"{end[:-1]},{_USAGE}}}", hides_usage=True)
        return Outgoing(body)
    fields = cast("Json", json.loads(body))
    options = fields.get("stream_options")
    known: Mapping[str, Any] = cast("Json", options) if isinstance(options, dict) else {}
    if known.get("include_usage"):
        return Outgoing(body)
    fields["stream_options"] = {**known, "include_usage": True}
    return Outgoing(_encoded(fields), hides_usage=True)


def _encoded(fields: Json) -> str:
    """Return JSON in ASCII: half of a character, which a client may send by itself, has no other form on the way."""
    return json.dumps(fields)


def can_go_on(body: str) -> bool:
    """Whether another engine could continue an answer to this request: one choice of free text.

    Tool calls and forced formats are structures that a model does not continue from the middle.
    """
    try:
        fields: object = json.loads(body)
    except ValueError:
        return False
    if not isinstance(fields, dict):
        return False
    known = cast("Json", fields)
    prompt = known.get("prompt", "")
    return (
        known.get("n") in {None, 1}
        and known.get("best_of") in {None, 1}
        and not known.get("tools")
        and not known.get("functions")
        and known.get("response_format") in (None, {"type": "text"})
        and isinstance(prompt, str)
    )
