"""What concerns a server alone: one that is absent."""

import pytest

from archive_bus import BusOptions, BusUnavailable, connect
from archive_contracts.memory import GetLibraryStats
from archive_contracts.streams import MEMORY_QUERIES
from archive_testkit.servers import free_port


async def test_absent_server_is_said_quickly() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    async with connect(url, url, BusOptions(service="gateway", grace_s=2.0)) as gateway:
        with pytest.raises(BusUnavailable):
            await gateway.publish(GetLibraryStats(), to=MEMORY_QUERIES, timeout=0.3)
        assert await gateway.check() == "the bus server does not answer"
