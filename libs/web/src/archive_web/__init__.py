"""The HTTP server of services that have one, bounds on what their clients send, and packing of what they get."""

from archive_web._body import bounded
from archive_web._errors import BodyTooLarge, BodyTooSlow, WebError
from archive_web._line import Line, line_of
from archive_web._packing import Packed
from archive_web._server import HttpServer

__all__ = ["BodyTooLarge", "BodyTooSlow", "HttpServer", "Line", "Packed", "WebError", "bounded", "line_of"]
