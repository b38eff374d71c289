"""Ports: choose them before anything starts, and keep them for restarts."""

import errno
import socket
import sys
from dataclasses import dataclass

from archive_cli.errors import PortTakenError


@dataclass(slots=True)
class Reservation:
    """A port that stays ours between its choice and the start of its server, and between a death and a restart.

    On Linux a bound socket that never listens keeps the kernel from handing the port to somebody else, while a
    server of the same user that sets SO_REUSEADDR or SO_REUSEPORT (all of ours do) may still listen on it. Elsewhere
    that is not so, and the port is only noted.
    """

    port: int
    _held: socket.socket | None = None

    def release(self) -> None:
        """Give the port back."""
        if self._held is not None:
            self._held.close()
            self._held = None


def reserve(host: str, port: int, *, purpose: str, option: str) -> Reservation:
    """Reserve a port, any free one for 0.

    Raises:
        PortTakenError: somebody listens there, or it may not be used; names the program where that can be found out.
    """
    if port:
        _check_free(host, port, purpose=purpose, option=option)
    held = _socket(host)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    chosen = int(held.getsockname()[1])
    if sys.platform == "linux":
        return Reservation(chosen, held)
    held.close()
    return Reservation(chosen)


def _check_free(host: str, port: int, *, purpose: str, option: str) -> None:
    # Without SO_REUSEPORT: with it, the bind would succeed beside a stranger who set it too.
    with _socket(host) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                message = f"Port {port}, wanted for the {purpose}, is in use by {_holder(port)}."
            else:
                message = f"Port {port} of {host} cannot be used for the {purpose}: {error.strerror}."
            raise PortTakenError(
                message, code="port_taken", next_step=f"choose another with {option}, 0 for any free one"
            ) from error


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)


def _holder(port: int) -> str:
    """Name the program that listens on a port, as far as this user may know it."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid:
                    return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
                break
    except psutil.Error:
        pass
    return "another program"
