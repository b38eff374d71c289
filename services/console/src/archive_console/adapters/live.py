"""What many pages watch is looked at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import suppress

Look = Callable[[], Awaitable[str]]


class _Topic:
    """One thing that is looked at again and again while somebody watches."""

    def __init__(self, look: Look, every_s: float) -> None:
        self.look = look
        self.every_s = every_s
        self.watchers = 0
        self.seen = ""
        self.version = 0
        self.changed = asyncio.Condition()


class Live:
    """Shares looks among pages: a hundred pages on one topic cost what one does."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, _Topic] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._looking: set[asyncio.Task[None]] = set()

    def use(self, tasks: asyncio.TaskGroup) -> None:
        """Run in this group from now on."""
        self._tasks = tasks

    def stop(self) -> None:
        """Look no more."""
        for task in self._looking:
            task.cancel()

    async def watch(self, key: Hashable, look: Look, *, every_s: float, ping_s: float) -> AsyncIterator[str | None]:
        """Yield what ``look`` returns whenever it is another than before; None after ``ping_s`` without news."""
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = _Topic(look, every_s)
            assert self._tasks is not None
            self._looking.add(task := self._tasks.create_task(self._look(key, topic)))
            task.add_done_callback(self._looking.discard)
        topic.watchers += 1
        told = 0
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ping_s), topic.changed:
                        while topic.version <= told:
                            await topic.changed.wait()
                if topic.version > told:
                    told = topic.version
                    yield topic.seen
                else:
                    yield None
        finally:
            topic.watchers -= 1

    async def _look(self, key: Hashable, topic: _Topic) -> None:
        """Look until nobody watches any more."""
        while True:
            seen = await topic.look()
            if seen != topic.seen or topic.version == 0:
                async with topic.changed:
                    topic.seen, topic.version = seen, topic.version + 1
                    topic.changed.notify_all()
            await asyncio.sleep(topic.every_s)
            if topic.watchers == 0:
                del self._topics[key]
                return
