"""What the command says about model servers that it found."""

from archive_finding import Found


def hint(found: Found, command: str = "archive") -> str:
    """Say how to use a server."""
    served = f"{len(found.models)} model{'' if len(found.models) == 1 else 's'}"
    return f"Found {found.kind} at {found.url} ({served}). To use it: {command} engines use {found.url}"
