"""Ask every endpoint with the official client, in whichever version it is here. ``ask_everything.py BASE_URL``."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import openai

MESSAGES: Any = [{"role": "user", "content": "Hi"}]


@contextmanager
def not_found() -> Generator[list[str | None], None, None]:
    """Collect the code of the NotFoundError that the block raises; the environment has no pytest."""
    codes: list[str | None] = []
    try:
        yield codes
    except openai.NotFoundError as error:
        codes.append(error.code)


def main(url: str) -> None:
    """Raise when an answer is not what the client's own types say."""
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["m"]
        assert client.models.retrieve("m").id == "m"
        whole = client.chat.completions.create(model="m", messages=MESSAGES, n=1, seed=7, logprobs=True)
        assert whole.choices[0].message.content == "Hello"
        pieces = client.chat.completions.create(
            model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "Hello"
        assert client.completions.create(model="m", prompt="Once").model == "m"
        vectors = client.embeddings.create(model="e", input=["a", "b"])
        assert [len(item.embedding) for item in vectors.data] == [3, 3]
        assert len(client.embeddings.create(model="e", input=[9906, 1917]).data) == 1
        with not_found() as caught:
            client.models.retrieve("none")
        assert caught == ["model_not_found"]
    sys.stdout.write(openai.__version__)


if __name__ == "__main__":
    main(sys.argv[1])
