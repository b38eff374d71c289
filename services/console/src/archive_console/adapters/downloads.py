"""Which downloads people asked for and have not seen the end of: a small file each, in a folder for each tenant."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import anyio

from archive_console.domain.ports import Download

SHOWN = 20
_JOB = re.compile(r"[0-9a-f]{32}")


class DownloadNotes:
    """Remembers the job of each download until its document is in the catalogue, or its failure was read.

    The journal of the job is what is true of it; without these files nobody would know which of all journals to read.
    Several consoles of one machine may share the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "downloads"

    async def add(self, tenant: str, download: Download) -> None:
        """Remember one."""

        def write() -> None:
            path = self._path(tenant, download.job)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_suffix(".draft")
            draft.touch(mode=0o600)
            draft.write_text(download.url)
            draft.replace(path)

        await anyio.to_thread.run_sync(write)

    async def listed(self, tenant: str) -> Sequence[Download]:
        """Return the latest, the newest first."""

        def read() -> list[Download]:
            found: list[tuple[float, Download]] = []
            for path in self._of(tenant).glob("*"):
                try:
                    if _JOB.fullmatch(path.name):
                        found.append((path.stat().st_mtime, Download(path.name, path.read_text())))
                except FileNotFoundError:  # dropped since
                    continue
            found.sort(key=lambda noted: noted[0], reverse=True)
            return [download for _, download in found[:SHOWN]]

        return await anyio.to_thread.run_sync(read)

    async def drop(self, tenant: str, job: str) -> None:
        """Forget one; one that is not there is no error."""
        if _JOB.fullmatch(job):
            await anyio.to_thread.run_sync(lambda: self._path(tenant, job).unlink(missing_ok=True))

    def _path(self, tenant: str, job: str) -> Path:
        return self._of(tenant) / job

    def _of(self, tenant: str) -> Path:
        # The name of a tenant may be none of a folder.
        return self._folder / hashlib.sha256(tenant.encode()).hexdigest()[:32]
