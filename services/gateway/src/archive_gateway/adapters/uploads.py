"""Multipart uploads: from the socket straight into the blob store."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from archive_blobs import BlobError, Blobs, BlobTooLarge
from archive_gateway.domain.errors import BadRequest, StoreFull, TooLarge, WrongMedia
from archive_gateway.domain.identity import file_name
from archive_gateway.domain.ports import Form, StoredFile

MOST_PARTS = 1000
MOST_FIELD_BYTES = 64 * 1024


@dataclass(slots=True)
class _Part:
    """The head of a part."""

    name: str = ""
    filename: str | None = None
    content_type: str = ""


class _End:
    """A part is complete."""


_Event = _Part | bytes | _End


@dataclass(slots=True)
class _Reader:
    """Turns the parser's callbacks into events."""

    events: list[_Event] = field(default_factory=list["_Event"])
    ended: bool = False
    _headers: dict[str, str] = field(default_factory=dict[str, str])
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)

    def parser(self, boundary: bytes) -> MultipartParser:
        """Return a parser that reports here."""
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._headers.clear,
                "on_header_field": self._on_name,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_head,
                "on_part_data": self._on_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def _on_head(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition"))
        filename = options.get(b"filename")
        self.events.append(
            _Part(
                name=_text(options.get(b"name", b"")),
                filename=None if filename is None else _text(filename),
                content_type=self._headers.get("content-type", "")[:200],
            )
        )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self.events.append(data[start:end])

    def _on_part_end(self) -> None:
        self.events.append(_End())

    def _on_end(self) -> None:
        self.ended = True


class MultipartUploads:
    """Stores the files of a form one after the other as they arrive; memory holds one network chunk at a time."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def receive(self, content_type: str, body: AsyncIterator[bytes], *, limit: int) -> Form:
        """Store the files of a multipart body of at most ``limit`` bytes.

        Raises BadRequest, WrongMedia, TooLarge or StoreFull.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise WrongMedia(
                "An upload is a form of the type multipart/form-data.",
                next_step="Try: curl -F file=@report.pdf ADDRESS/v1/documents",
            )
        form = Form()
        left = limit
        async with aclosing(_events(body, boundary)) as events:
            async for head in events:
                if not isinstance(head, _Part):
                    continue
                if len(form.files) + len(form.fields) >= MOST_PARTS:
                    raise BadRequest(f"The form has more than {MOST_PARTS} parts.", next_step="Send fewer at once.")
                if head.filename is None:
                    form.fields[head.name] = await _value(events, head.name)
                    continue
                stored = await self._store(head, events, limit=limit, left=left)
                left -= stored.size
                form.files.append(stored)
        return form

    async def _store(self, head: _Part, events: AsyncGenerator[_Event, None], *, limit: int, left: int) -> StoredFile:
        filename = file_name(head.filename or "", fallback="document")
        try:
            ref = await self._blobs.put(_content(events), limit=left)
        except BlobTooLarge:
            raise TooLarge(f"The file {filename!r}", limit=limit, setting="GATEWAY_MAX_UPLOAD_MB") from None
        except BlobError as error:
            raise StoreFull(error.message, next_step=error.next_step, code=error.code) from error
        return StoredFile(
            blob=str(ref), sha256=ref.sha256, size=ref.size, filename=filename, content_type=head.content_type
        )


async def _events(body: AsyncIterator[bytes], boundary: bytes) -> AsyncGenerator[_Event, None]:
    reader = _Reader()
    try:
        parser = reader.parser(boundary)
        async for chunk in body:
            parser.write(chunk)
            for event in reader.events:
                yield event
            reader.events.clear()
    except FormParserError as error:
        raise BadRequest(f"The form is malformed: {error}.", next_step="Send a multipart form.") from None
    if not reader.ended:
        raise BadRequest("The form is cut off before its closing boundary.", next_step="Send all of it.")


async def _content(events: AsyncGenerator[_Event, None]) -> AsyncIterator[bytes]:
    async for event in events:
        if isinstance(event, bytes):
            yield event
        else:
            return


async def _value(events: AsyncGenerator[_Event, None], name: str) -> str:
    parts: list[bytes] = []
    size = 0
    async for part in _content(events):
        size += len(part)
        if size > MOST_FIELD_BYTES:
            raise BadRequest(f"The form field {name[:100]!r} is longer than {MOST_FIELD_BYTES} bytes.")
        parts.append(part)
    return _text(b"".join(parts))


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
