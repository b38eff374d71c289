#!/app/bin/python -IS
"""Health check of a container: `healthy PORT PATH` exits with 0 when loopback answers a GET of PATH with 200.

A bare socket and an interpreter without site: each container asks every few seconds, and a library of HTTP would take
three times the CPU.
"""

import socket
import sys


def status(port: int, path: str, within_s: float = 2) -> int:
    """Ask http://127.0.0.1:`port``path`; raise OSError where nobody answers, ValueError where not in HTTP."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            protocol, _, rest = answer.readline(100).partition(b" ")
    if not protocol.startswith(b"HTTP/"):
        raise ValueError("this is no answer of HTTP")
    return int(rest[:3])


if __name__ == "__main__":
    try:
        found = status(int(sys.argv[1]), sys.argv[2])
    except (OSError, ValueError) as error:
        sys.exit(f"nobody answers on port {sys.argv[1]}: {error}")
    sys.exit(None if found == 200 else f"{sys.argv[2]} answers {found}")
