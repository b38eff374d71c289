"""What has been done already: tenants, messages, and jobs that are over.

A message's id and its effect are one transaction, so that a redelivery finds either both or neither.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

KEEP_S = 14 * 24 * 3600.0  # longer than any stream keeps a message that could come again


def find_tenant(connection: sqlite3.Connection, name: str) -> int | None:
    """Return a tenant's number, None when nothing was ever stored for it."""
    row = connection.execute("SELECT id FROM tenants WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def keep_tenant(connection: sqlite3.Connection, name: str) -> int:
    """Return a tenant's number, new or known."""
    connection.execute("INSERT INTO tenants (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    return connection.execute("SELECT id FROM tenants WHERE name = ?", (name,)).fetchone()[0]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The inbox of one tenant, on the transaction of one change made at a time; an `archive_bus.Inbox` of results."""

    connection: sqlite3.Connection
    tenant: int
    at: float

    def earlier(self, message_id: str) -> int | None:
        """Return what a message did when it came before, None for a new one."""
        sql = "SELECT result FROM processed WHERE tenant = ? AND message_id = ?"
        row = self.connection.execute(sql, (self.tenant, message_id)).fetchone()
        return row[0] if row else None

    def record(self, message_id: str, result: int) -> None:
        """Remember that a message was handled and with what result."""
        values = (self.tenant, message_id, self.at, result)
        self.connection.execute("INSERT OR REPLACE INTO processed VALUES (?, ?, ?, ?)", values)


def bury(connection: sqlite3.Connection, tenant: int, job_id: str, at: float) -> None:
    """Remember that a job is over, so that a batch still on its way brings nothing back."""
    if job_id:
        connection.execute("INSERT OR IGNORE INTO tombstones VALUES (?, ?, ?)", (tenant, job_id, at))


def is_buried(connection: sqlite3.Connection, tenant: int, job_id: str) -> bool:
    """Return whether a job was cancelled, or its document deleted."""
    sql = "SELECT 1 FROM tombstones WHERE tenant = ? AND job_id = ?"
    return connection.execute(sql, (tenant, job_id)).fetchone() is not None


def prune(connection: sqlite3.Connection, before: float) -> int:
    """Forget what happened before a time, in seconds since the epoch; return how many messages that were."""
    pruned = connection.execute("DELETE FROM processed WHERE at < ?", (before,)).rowcount
    connection.execute("DELETE FROM tombstones WHERE at < ?", (before,))
    connection.execute("DELETE FROM job_batches WHERE at < ?", (before,))
    return pruned
