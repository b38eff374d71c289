import os
import socket

import pytest

from archive_cli.errors import PortTakenError
from archive_cli.ports import reserve


def listening() -> socket.socket:
    server = socket.create_server(("127.0.0.1", 0))
    server.listen(1)
    return server


def test_taken_port_names_its_holder() -> None:
    with listening() as server, pytest.raises(PortTakenError) as caught:
        reserve("127.0.0.1", server.getsockname()[1], purpose="gateway", option="--port N")
    assert f"pid {os.getpid()}" in caught.value.message
    assert "--port N" in caught.value.next_step


def test_sharing_stranger_is_noticed() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        with pytest.raises(PortTakenError):
            reserve("127.0.0.1", server.getsockname()[1], purpose="gateway", option="--port N")


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_server_may_use_a_reserved_port(option: int) -> None:
    reservation = reserve("127.0.0.1", 0, purpose="gateway", option="--port N")
    try:
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, option, 1)
            server.bind(("127.0.0.1", reservation.port))
            server.listen(1)
            with socket.create_connection(("127.0.0.1", reservation.port), timeout=30) as client:
                accepted, caller = server.accept()
                accepted.close()
                assert caller == client.getsockname()
    finally:
        reservation.release()


def test_reserved_ports_differ() -> None:
    held = [reserve("127.0.0.1", 0, purpose="x", option="y") for _ in range(20)]
    assert len({reservation.port for reservation in held}) == 20
    for reservation in held:
        reservation.release()


def test_forbidden_port_is_told() -> None:
    with pytest.raises(PortTakenError, match="cannot be used"):
        reserve("192.0.2.1", 8080, purpose="gateway", option="--port N")
