"""Keys of a bus saved and put into another server."""

import io
import time
from pathlib import Path
from typing import Any

import pytest
from bus_peers import client_of
from hypothesis import given
from hypothesis import strategies as st

from archive_bus import NotEmpty, SavedKey, VaultRefused, create_streams, load_keys, read_keys, save_keys
from archive_contracts.streams import ANSWERS, CHAT_REQUESTS
from archive_testkit.servers import RedisServer

KEY = CHAT_REQUESTS.physical()
KEYS = st.builds(SavedKey, st.binary(max_size=20), st.integers(0, 2**50), st.binary(max_size=60))


@given(st.lists(KEYS, max_size=5))
def test_file_reads_back(keys: list[SavedKey]) -> None:
    file = io.BytesIO()
    for key in keys:
        key.write(file)
    file.seek(0)
    assert list(read_keys(file)) == keys


@given(st.lists(KEYS, min_size=1, max_size=3), st.integers(1, 10))
def test_cut_file_is_refused(keys: list[SavedKey], cut: int) -> None:
    file = io.BytesIO()
    for key in keys:
        key.write(file)
    with pytest.raises(VaultRefused):
        list(read_keys(io.BytesIO(file.getvalue()[:-cut])))


async def fill(url: str) -> None:
    async with client_of(url) as client:
        await create_streams(url)
        for number in range(5):
            await client.xadd(KEY, {"type": "x", "data": str(number)})
        await client.xreadgroup("router", "me", {KEY: ">"}, count=2)
        await client.set("{chat.requests:0}:seen:a", "1-1", px=600_000)
        await client.xadd(ANSWERS.physical("default:a"), {"type": "x"})


async def saved(url: str) -> list[SavedKey]:
    return [key async for key in save_keys(url)]


async def test_pending_and_unread_come_back(redis_url: str, redis_server: RedisServer) -> None:
    await fill(redis_url)
    await load_keys(redis_server.url, iter(await saved(redis_url)))
    async with client_of(redis_server.url) as client:
        (group,) = [row for row in await client.xinfo_groups(KEY) if row["name"] == b"router"]
        assert (group["pending"], group["lag"]) == (2, 3)
        assert 0 < await client.pttl("{chat.requests:0}:seen:a") <= 600_000
        assert not await client.exists(ANSWERS.physical("default:a"))


async def test_filled_server_is_left_alone(redis_url: str, redis_server: RedisServer) -> None:
    await fill(redis_url)
    await fill(redis_server.url)
    with pytest.raises(NotEmpty):
        await load_keys(redis_server.url, iter(await saved(redis_url)))


async def test_bootstrapped_server_is_filled(redis_url: str, redis_server: RedisServer) -> None:
    await fill(redis_url)
    await create_streams(redis_server.url)
    assert await load_keys(redis_server.url, iter(await saved(redis_url))) > 0


async def test_ended_keys_stay_away(redis_url: str, redis_server: RedisServer) -> None:
    await fill(redis_url)
    past = int(time.time() * 1000) - 1
    keys = [SavedKey(key.name, past if key.ends_ms else 0, key.value) for key in await saved(redis_url)]
    await load_keys(redis_server.url, iter(keys))
    async with client_of(redis_server.url) as client:
        assert not await client.exists("{chat.requests:0}:seen:a")


async def test_foreign_value_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    damaged: Any = SavedKey(b"{chat.requests:0}", 0, b"no dump at all")
    with pytest.raises(VaultRefused):
        await load_keys(redis_server.url, iter([damaged]))
