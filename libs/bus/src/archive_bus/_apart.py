"""Context variables that end with the handler which set them.

Handlers follow one another in one task, and what begins in a callback of one of them inherits its context: what a
handler leaves in a context variable would reach messages that it has nothing to do with. A task each would keep them
apart too, at several times the price.
"""

from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

Steps = Coroutine[Any, Any, None]


class Rest:
    """What is left of a coroutine that has begun; to be awaited in the task in which it did."""

    __slots__ = ("_awaited", "_error", "_run", "_steps")

    def __init__(self, steps: Steps, run: Callable[..., Any], awaited: Any, error: BaseException | None) -> None:
        self._steps = steps
        self._run = run
        self._awaited = awaited
        self._error = error

    @property
    def waits(self) -> bool:
        """Whether it waits for something; else it has failed, and awaiting it says how."""
        return self._error is None

    def __await__(self) -> Generator[Any, Any, None]:
        if self._error is not None:
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


def begin_apart(steps: Steps) -> Rest | None:
    """Begin a coroutine in a context of its own, within the task at hand.

    None: it has ended well, without having to wait; else what is returned is to be awaited at once.
    """
    run = copy_context().run
    try:
        awaited = run(steps.send, None)
    except StopIteration:
        return None
    except BaseException as error:  # noqa: BLE001 - not swallowed: whoever awaits the rest gets it
        return Rest(steps, run, None, error)
    return Rest(steps, run, awaited, None)
