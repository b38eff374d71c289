"""Why a file or an address gave no text.

    ExtractionError
    ├── UnsupportedFormat     a kind of file that is not read
    ├── Encrypted             needs a password
    ├── Corrupt               damaged beyond reading
    ├── Encoding              text in no known encoding
    ├── EmptyDocument         nothing in it
    │   └── NoText            pages, but only pictures on them
    ├── ResourceLimit         too much memory, time, pages or unpacked bytes
    ├── WorkerCrashed         the extracting process died
    └── DownloadError         an address did not give the file
        ├── BadAddress        it is no address of the web
        ├── AddressRefused    it leads where nobody may send us
        └── Unreachable       nothing came, or not all of it: later it may

Every error is rebuilt from `to_wire()` on the other side of a process boundary by `from_wire()`.
"""

from __future__ import annotations

from typing import ClassVar, Self


class ExtractionError(Exception):
    """Base of all; `message` says what happened, `next_step` what the reader can do."""

    code: ClassVar[str] = "extraction_failed"
    next_step: str = "Open the file in its own program, save it again and retry."

    def __init__(self, message: str, next_step: str | None = None) -> None:
        super().__init__(message, next_step)
        self.message = message
        if next_step is not None:
            self.next_step = next_step

    def __str__(self) -> str:
        return self.message

    def to_wire(self) -> dict[str, str]:
        """Plain strings: {"code", "message", "next_step"}."""
        return {"code": self.code, "message": self.message, "next_step": self.next_step}

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Every class of the hierarchy by its code."""
        found = {cls.code: cls}
        for child in cls.__subclasses__():
            found.update(child.kinds())
        return found


class UnsupportedFormat(ExtractionError):
    code = "unsupported_format"
    next_step = "Convert the file to PDF, DOCX, HTML, Markdown or plain text."


class Encrypted(ExtractionError):
    code = "encrypted"
    next_step = "Remove the password (save or print to a new file) and ingest that copy."


class Corrupt(ExtractionError):
    code = "corrupt"
    next_step = "Fetch or export the file again; it may be truncated."


class Encoding(ExtractionError):
    code = "encoding"
    next_step = "Save the file as UTF-8 and retry."


class EmptyDocument(ExtractionError):
    code = "empty_document"
    next_step = "Check that the right file was sent; there is nothing in it to read."


class NoText(EmptyDocument):
    code = "no_text"
    next_step = "Run text recognition (OCR) on the file and ingest the result."


class ResourceLimit(ExtractionError):
    code = "resource_limit"
    next_step = "Split the file into smaller parts, or raise the limits of the librarian."


class WorkerCrashed(ExtractionError):
    code = "worker_crashed"
    next_step = "The file is probably malformed: print it to a new PDF and retry."


class DownloadError(ExtractionError):
    code = "download_failed"
    next_step = "Open the address in a browser. What shows there can be saved and uploaded."


class BadAddress(DownloadError):
    code = "bad_address"
    next_step = "Give an address that begins with http:// or https://."


class AddressRefused(DownloadError):
    code = "address_refused"
    next_step = "Download the file yourself and upload it, or have the operator set LIBRARIAN_FETCH_ALLOW."


class Unreachable(DownloadError):
    code = "unreachable"
    next_step = "See whether the address opens in a browser, then try again."


def from_wire(fields: dict[str, str]) -> ExtractionError:
    """Rebuild the error that `to_wire` described; an unknown code becomes the base class."""
    kind = ExtractionError.kinds().get(fields["code"], ExtractionError)
    return kind(fields["message"], fields["next_step"])
