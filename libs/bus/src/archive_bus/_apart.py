"""Context variables that end with the handler which set them."""

from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Apart(Generic[T]):
    """Awaits a coroutine in a context of its own, within the task at hand.

    Handlers follow one another in one task, and what begins in a callback of one of them inherits its context: what a
    handler leaves in a context variable would reach messages that it has nothing to do with. A task each would keep
    them apart too, at several times the price. ``waits`` is called when the coroutine has to wait for the first time.
    """

    __slots__ = ("_steps", "_waits")

    def __init__(self, steps: Coroutine[Any, Any, T], waits: Callable[[], object] | None = None) -> None:
        self._steps = steps
        self._waits = waits

    def __await__(self) -> Generator[Any, Any, T]:
        steps, run = self._steps, copy_context().run
        try:
            awaited = run(steps.send, None)
            if self._waits:
                self._waits()
            while True:
                try:
                    told = yield awaited
                except BaseException as error:  # noqa: BLE001 - not swallowed: it is the coroutine's to handle
                    awaited = run(steps.throw, error)
                else:
                    awaited = run(steps.send, told)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()
