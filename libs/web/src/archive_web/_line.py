"""The connection that a request came over, for those who have to know when its client has left."""

from collections.abc import Callable
from typing import Any

from starlette.types import Scope

_KEY = "archive.line"


class Line:
    """One connection; ``on_lost`` is called once when it is lost, for the one request that is served at a time.

    ``whole`` says that no request on it is on its way: the body of the one that is served has come.
    """

    __slots__ = ("lost", "on_lost", "whole")

    def __init__(self) -> None:
        self.lost = self.whole = False
        self.on_lost: Callable[[], object] | None = None

    def carries(self, scope: Any) -> None:
        """Let a request be known by its scope to have come over this line."""
        scope[_KEY] = self

    def lose(self) -> None:
        """Take note that the client has left."""
        self.lost = True
        if self.on_lost:
            self.on_lost()


def line_of(scope: Scope) -> Line:
    """Return the line of a request that ``HttpServer`` serves.

    A task that waits for ``http.disconnect`` tells the same at several times the price, for every request.
    """
    return scope[_KEY]
