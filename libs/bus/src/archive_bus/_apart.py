"""Context variables that end with the handler which set them."""

from collections.abc import Coroutine, Generator
from contextvars import copy_context
from typing import Any


class Apart:
    """Runs a coroutine in a context of its own, within the task at hand.

    Handlers follow one another in one task, and what begins in a callback of one of them inherits its context: what a
    handler leaves in a context variable would reach messages that it has nothing to do with. A task each would keep
    them apart too, at several times the price.
    """

    __slots__ = ("_awaited", "_error", "_run", "_steps", "waits")

    def __init__(self, steps: Coroutine[Any, Any, None]) -> None:
        self._steps = steps
        self._run = copy_context().run
        self._awaited: Any = None
        self._error: BaseException | None = None
        self.waits = False
        """Whether it has begun, and waits for something."""

    def ends(self) -> bool:
        """Begin. True: it has ended well, without having to wait; else it is to be awaited, at once."""
        try:
            self._awaited = self._run(self._steps.send, None)
        except StopIteration:
            return True
        except BaseException as error:  # noqa: BLE001 - not swallowed: whoever awaits this gets it
            self._error = error
        else:
            self.waits = True
        return False

    def __await__(self) -> Generator[Any, Any, None]:
        if not self.waits and self._error is None and self.ends():
            return
        if self._error:
            error, self._error = self._error, None  # or it would hold itself by its traceback
            raise error
        steps, run, awaited = self._steps, self._run, self._awaited
        try:
            while True:
                try:
                    told = yield awaited
                except BaseException as error:  # noqa: BLE001 - not swallowed: it is the coroutine's to handle
                    awaited = run(steps.throw, error)
                else:
                    awaited = run(steps.send, told)
        except StopIteration:
            return
        finally:
            steps.close()
