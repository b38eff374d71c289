"""Ids are drawn by the hundred, and still nobody has one twice."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

from archive_bus._ids import AT_ONCE, message_id


def _draw(count: int) -> list[str]:
    return [message_id() for _ in range(count)]


def test_ids_of_all_threads_differ() -> None:
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(_draw, [AT_ONCE] * 32))
    ids = [one for some in drawn for one in some]
    assert len(set(ids)) == len(ids) == 32 * AT_ONCE
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)


def test_child_process_draws_ids_of_its_own() -> None:
    message_id()  # others are at hand now, which a child must not use as well
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writes, "\n".join(_draw(AT_ONCE)).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as told:
        of_child = set(told.read().split())
    os.waitpid(child, 0)
    assert len(of_child) == AT_ONCE
    assert not of_child & set(_draw(AT_ONCE))
