"""A small OTLP/HTTP receiver, so that tests see the spans that really left a process."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class OtlpReceiver:
    """Collects spans; use as a context manager."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path.endswith("/metrics"):
                    receiver.metrics.append(body)
                else:
                    receiver._take(body, self.headers)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The endpoint to export to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, body: bytes, headers: Any) -> None:
        import gzip

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def trace(self, name: str, service: str) -> list[tuple[str, str]]:
        """Return (service, span name) of every span in the newest trace that holds the named span of a service."""
        known = list(self.spans)
        ids = [span.trace_id for owner, span in known if owner == service and span.name == name]
        return [(owner, span.name) for owner, span in known if ids and span.trace_id == ids[-1]]
