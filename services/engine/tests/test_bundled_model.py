"""The backend against llama.cpp itself, serving the bundled model: structure and liveness, never wording."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from archive_engine.adapters.http_session import HttpSession, open_session
from archive_engine.adapters.openai_http import OpenAIBackend
from archive_engine.domain.errors import UpstreamStatus

MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Base URL of the bundled model server, on a free port."""
    command = [sys.executable, "-m", "archive_cli.model_server", "--port", "0", "--ctx", "2048"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://\S+", line):
            yield found[0].rstrip(",")
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stderr.close()


@pytest.fixture
async def session() -> AsyncIterator[HttpSession]:
    """The session production uses."""
    async with open_session() as opened:
        yield opened


def _body(*, stream: bool, **more: object) -> str:
    messages = [{"role": "user", "content": "Tell me about the sea."}]
    return json.dumps({"model": MODEL, "messages": messages, "max_tokens": 12, "stream": stream, **more})


async def test_describes_itself(server: str, session: HttpSession) -> None:
    backend = OpenAIBackend(server, session=session)
    await backend.health()
    found = await backend.capabilities()
    assert (found.kind, found.models, found.context, found.slots) == ("llama.cpp", (MODEL,), 1024, 2)


async def test_streams_and_completes(server: str, session: HttpSession) -> None:
    backend = OpenAIBackend(server, session=session)
    async with backend.chat(_body(stream=True), stream=True) as reply:
        events = [event async for event in reply]
    assert sum(event.token for event in events) > 3
    async with backend.chat(_body(stream=False), stream=False) as reply:
        whole = json.loads((await anext(reply)).data)
    assert whole["usage"]["completion_tokens"] == 12


async def test_assembled_equals_whole(server: str, session: HttpSession) -> None:
    bodies: list[dict[str, object]] = []
    for stream_upstream in (False, True):
        backend = OpenAIBackend(server, session=session, stream_upstream=stream_upstream)
        async with backend.chat(_body(stream=False, temperature=0, seed=1), stream=False) as reply:
            bodies.append(json.loads((await anext(reply)).data))
    whole, assembled = bodies
    assert whole["choices"] == assembled["choices"]
    assert set(whole) == set(assembled)


async def test_schema_binds_the_answer(server: str, session: HttpSession) -> None:
    schema = {"type": "object", "properties": {"pick": {"enum": ["red", "blue"]}}, "required": ["pick"]}
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "pick", "schema": {**schema, "additionalProperties": False}},
    }
    backend = OpenAIBackend(server, session=session)
    async with backend.chat(
        _body(stream=False, response_format=wanted, max_tokens=200, temperature=0), stream=False
    ) as reply:
        content = json.loads((await anext(reply)).data)["choices"][0]["message"]["content"]
    assert json.loads(content)["pick"] in {"red", "blue"}


async def test_too_long_prompt_is_typed(server: str, session: HttpSession) -> None:
    backend = OpenAIBackend(server, session=session)
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "word " * 1500}]})
    with pytest.raises(UpstreamStatus) as caught:
        async with backend.chat(body, stream=False):
            pass
    assert caught.value.status == 400
    assert "exceed_context_size_error" in caught.value.body


async def test_cancelled_answers_free_slots(server: str, session: HttpSession) -> None:
    backend = OpenAIBackend(server, session=session, stream_upstream=True)
    endless = _body(stream=False, max_tokens=900, ignore_eos=True)

    async def ask() -> None:
        async with backend.chat(endless, stream=False) as reply:
            await anext(reply)

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            asking = group.create_task(ask())
            await asyncio.sleep(0.2)
            asking.cancel()
    async with asyncio.timeout(60), backend.chat(_body(stream=True), stream=True) as reply:
        assert [event async for event in reply]
