"""What a person is told about an exception."""

from starlette.exceptions import HTTPException

from archive_blobs import BlobError
from archive_bus import BusError
from archive_console.domain.errors import ConsoleError
from archive_contracts.base import Problem


def problem_of(error: Exception) -> Problem:
    """Return what a person is told about an exception; of an unforeseen one, nothing but that it happened."""
    if isinstance(error, ConsoleError):
        return error.problem
    if isinstance(error, BusError):
        return error.problem()
    if isinstance(error, BlobError):
        return Problem(code=error.code, message=error.message, next_step=error.next_step, status=503)
    if isinstance(error, HTTPException):
        return Problem(
            code="not_found",
            message="There is no such page.",
            next_step="Its address may be mistyped, or what it showed was deleted.",
            status=error.status_code,
        )
    return Problem(
        code="internal_error",
        message="The page failed.",
        next_step="Look into the log of the console for the cause.",
        status=500,
    )
