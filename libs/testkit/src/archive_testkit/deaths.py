"""Messages that killed every process that ran them, without the processes."""

from archive_bus._redis import RedisTransport, RedisUrls
from archive_contracts.streams import Stream
from archive_testkit.conformance.backend import lane_of, take


async def kill_all_runs(url: str, stream: Stream, group: str) -> None:
    """Begin the one message that waits for a group as often as the stream allows, and end each time without a word."""
    transport = RedisTransport(RedisUrls(bus=url, state=url))
    await transport.start()
    try:
        lane = lane_of(stream, group, "victim-0")
        (entry,) = await take(transport, lane, 1)
        for number in range(1, stream.attempts + 1):
            await transport.started(lane, {entry.id: f"run{number}"}, alone=True)
            await transport.release(lane, {entry.id: ""})
            lane = lane_of(stream, group, f"victim-{number}")
            if number < stream.attempts:
                (entry,) = await transport.claim(lane, count=1)
    finally:
        await transport.stop()
