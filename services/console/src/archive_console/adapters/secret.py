"""The secret that sessions are signed with."""

import os
import secrets
from pathlib import Path

NAME = "session-secret"
BYTES = 32


def load_secret(folder: Path) -> bytes:
    """Return the secret of this installation, made at its first start; readable by its owner only."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / NAME
    draft = folder / f".{NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(BYTES))
    try:
        # A link is made whole or not at all, and by one process: two consoles that start together share a secret.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_bytes()
