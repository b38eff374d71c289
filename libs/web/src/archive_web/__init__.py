"""The HTTP server of services that have one, and bounds on what their clients send."""

from archive_web._body import bounded
from archive_web._errors import BodyTooLarge, BodyTooSlow, WebError
from archive_web._server import HttpServer

__all__ = ["BodyTooLarge", "BodyTooSlow", "HttpServer", "WebError", "bounded"]
