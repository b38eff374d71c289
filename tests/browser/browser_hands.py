"""What several tests of the page do by hand."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from archive_bus import BusOptions, connect
from archive_contracts.base import Message
from archive_contracts.conversations import ConversationSaved
from archive_contracts.streams import CONVERSATION_COMMANDS
from archive_testkit.system import ArchiveSystem

DEEP = ("answer", "source", "letter", "message", "stream", "job")
"""Pages that show one thing, which has to be there."""


def kept(system: ArchiveSystem, *changes: Message) -> None:
    """Have changes to conversations made durable."""

    async def send() -> None:
        urls = system.run_info["bus_url"], system.run_info["state_url"]
        async with connect(*urls, BusOptions(service="console", grace_s=0.5)) as bus:
            for change in changes:
                await bus.request(change, ConversationSaved, to=CONVERSATION_COMMANDS, timeout=60.0)

    # Playwright keeps a loop of its own in this thread.
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: asyncio.run(send())).result()


def tabbed(page: Any, target: Any) -> None:
    """Walk by the tabulator alone until this is in focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"the tabulator does not reach {target}")
