"""A tenant's part of a transaction, and what the vector indexes must hear of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from archive_memory.adapters.ledger import Ledger
from archive_memory.adapters.text import Kind
from archive_memory.adapters.vectors import Key, Shelf, delete_vectors, vectors_of
from archive_memory.adapters.writer import Transaction


@dataclass(frozen=True, slots=True)
class Change:
    """A transaction of one tenant at one time, in seconds since the epoch."""

    tx: Transaction
    tenant: int
    at: float
    shelf: Shelf

    @property
    def connection(self) -> sqlite3.Connection:
        """Where to write."""
        return self.tx.connection

    @property
    def ledger(self) -> Ledger:
        """What the tenant's messages did before; what this one does is noted there."""
        return Ledger(self.connection, self.tenant, self.at)

    def show(self, kind: Kind, owners: Sequence[int]) -> None:
        """Let the stored vectors of these texts be found once the commit is durable."""
        for model, (ids, vectors) in vectors_of(self.connection, kind, owners).items():
            self.tx.after_commit.append(partial(self.shelf.add, Key(self.tenant, kind, model), ids, vectors))

    def hide(self, kind: Kind, owners: Sequence[int]) -> None:
        """Delete the vectors of these texts, and take them out of their index after the commit."""
        for model, ids in delete_vectors(self.connection, kind, owners).items():
            self.tx.after_commit.append(partial(self.shelf.remove, Key(self.tenant, kind, model), ids))
