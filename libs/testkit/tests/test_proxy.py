"""The proxy forwards, and misbehaves as told."""

import asyncio

import pytest

from archive_testkit.proxy import TcpProxy
from archive_testkit.servers import RedisServer

BROKEN = (ConnectionError, asyncio.IncompleteReadError)


async def ping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"PING\r\n")
    await writer.drain()
    return await reader.readline()


async def test_bytes_pass_both_ways(shared_redis: RedisServer) -> None:
    async with TcpProxy(shared_redis.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ping(reader, writer) == b"+PONG\r\n"
        writer.close()
        assert proxy.connections == 1


async def test_cut_breaks_open_connections(shared_redis: RedisServer) -> None:
    async with TcpProxy(shared_redis.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ping(reader, writer) == b"+PONG\r\n"
        proxy.cut()
        with pytest.raises(BROKEN):
            await reader.readexactly(1)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ping(reader, writer) == b"+PONG\r\n"
        writer.close()


async def test_swallowed_bytes_never_arrive(shared_redis: RedisServer) -> None:
    async with TcpProxy(shared_redis.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ping(reader, writer) == b"+PONG\r\n"
        proxy.swallow()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ping(reader, writer)
        proxy.heal()
        with pytest.raises(BROKEN):
            await reader.readexactly(1)


async def test_refused_until_healed(shared_redis: RedisServer) -> None:
    async with TcpProxy(shared_redis.port) as proxy:
        proxy.refuse()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(BROKEN):
            await reader.readexactly(1)
        writer.close()
        proxy.heal()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await ping(reader, writer) == b"+PONG\r\n"
        writer.close()
