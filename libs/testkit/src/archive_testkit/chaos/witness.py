"""Reads along on the streams: which entry carries which message, and when the server took an output."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# redis-py leaves its replies without types.

import asyncio
import json
import time
from typing import Any

from redis.exceptions import RedisError

from archive_testkit.chaos.history import Recorder, What
from archive_testkit.chaos.work import OUTPUTS, keys


async def witness(client: Any, notes: Recorder) -> None:
    """Note every entry until cancelled; a server that is away is waited for."""
    after = dict.fromkeys((*keys(), OUTPUTS.physical()), "0-0")
    while True:
        try:
            reply = await client.xread(after, count=1000, block=200)
        except (RedisError, OSError):
            await asyncio.sleep(0.1)
            continue
        for raw, entries in reply:
            key = raw.decode()
            for entry_id, fields in entries:
                after[key] = entry_id.decode()
                _note(notes, key, after[key], fields)


def _note(notes: Recorder, key: str, entry: str, fields: dict[bytes, bytes]) -> None:
    notes.note(What.SEEN, fields[b"id"].decode(), run=entry, detail=key)
    if key == OUTPUTS.physical():
        output = json.loads(fields[b"data"])
        # The entry's id is the server's own time of taking it, to the millisecond.
        taken = int(entry.partition("-")[0]) / 1000 - (time.time() - time.monotonic())
        sequence, fence = map(int, output["text"].split())
        notes.note(
            What.EFFECT,
            output["session"],
            who=output["engine"],
            run=output["pool"],
            since=taken,
            key=output["user_turn"],
            sequence=sequence,
            fence=fence,
        )


async def settled(client: Any, *, within_s: float) -> str:
    """Wait until no group has anything unread or pending. Returns what is left, or nothing."""
    until, left = time.monotonic() + within_s, "the server does not answer"
    while time.monotonic() < until:
        try:
            left = "; ".join([told for key in keys() for told in await _waiting(client, key)])
            if not left:
                return ""
        except (RedisError, OSError) as error:
            left = str(error)
        await asyncio.sleep(0.2)
    return left


async def _waiting(client: Any, key: str) -> list[str]:
    if not await client.exists(key):
        return []
    groups = await client.xinfo_groups(key)
    return [
        f"{key} {group['name'].decode()}: {group['pending']} pending, lag {group['lag']}"
        for group in groups
        if group["pending"] or group["lag"]
    ]
