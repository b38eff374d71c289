import asyncio
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from archive_cli import probe
from archive_cli.child import Child
from archive_cli.plan import Process, Wave
from archive_cli.ports import reserve
from archive_cli.valkey import Role, Server, new_server


def make(role: Role, folder: Path) -> Server:
    folder.mkdir(exist_ok=True)
    reservation = reserve("127.0.0.1", 0, purpose=role, option="")
    reservation.release()
    server = new_server(role, port=reservation.port, folder=folder)
    server.write()
    return server


async def start(server: Server, logs: Path) -> Child:
    plan = Process(name=server.role, service="valkey", wave=Wave.STORE, command=server.command(), port=server.port)
    child = await Child.start(plan, logs=logs, env=os.environ)
    async with asyncio.timeout(30):
        await child.wait_ready()
    return child


def ask(server: Server, *words: str) -> bytes:
    """Send inline commands after the password, return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        lines = (f"AUTH operator {server.passwords['operator']}", *words, "QUIT")
        connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
        return b"".join(iter(lambda: connection.recv(4096), b""))


@pytest.mark.parametrize("role", ["bus", "state"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_data_outlives_its_server(tmp_path: Path, role: Role, number: signal.Signals) -> None:
    server = make(role, tmp_path / role)
    first = await start(server, tmp_path)
    ask(server, "SET kept yes")
    os.kill(first.pid, number)
    await first.wait()
    second = await start(server, tmp_path)
    assert b"yes" in ask(server, "GET kept")
    second.terminate()
    assert await second.wait() == 0


async def test_password_is_needed_and_hidden(tmp_path: Path) -> None:
    server = make("bus", tmp_path / "bus")
    child = await start(server, tmp_path)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"GET x\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
    for file in (server.config_file, server.access_file):
        assert file.stat().st_mode & 0o777 == 0o600
        assert not any(password in file.read_text() for password in server.passwords.values())
    assert not any(password in word for word in server.command() for password in server.passwords.values())
    child.kill()
    await child.wait()


def test_roles_differ_in_durability(tmp_path: Path) -> None:
    bus, state = (new_server(role, port=1, folder=tmp_path).configuration() for role in ("bus", "state"))
    assert "appendfsync always" in bus
    assert "noeviction" in bus
    assert "appendfsync no" in state
    assert "volatile-lru" in state


def test_folder_with_quotes_is_escaped(tmp_path: Path) -> None:
    server = Server(role="bus", port=1, passwords={}, folder=tmp_path / 'a "b" c')
    assert f'dir "{tmp_path}/a \\"b\\" c"' in server.configuration()


async def test_service_is_held_to_the_map(tmp_path: Path) -> None:
    server = make("bus", tmp_path / "bus")
    child = await start(server, tmp_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = (f"AUTH router {server.passwords['router']}", "GET x", "XADD {chat.requests:0} * a 1", "QUIT")
    writer.write("".join(f"{line}\r\n" for line in lines).encode())
    told = (await reader.read()).splitlines()
    assert [line.split()[0] for line in told] == [b"+OK", b"-NOPERM", b"-NOPERM", b"+OK"]
    writer.close()
    child.kill()
    await child.wait()


def test_publishers_are_users_too(tmp_path: Path) -> None:
    server = replace(new_server("bus", port=1, folder=tmp_path), publishers={"acme": "secret"})
    assert "user ingress-acme reset on #" in server.access_rules()
    assert "secret" not in server.access_rules()


async def test_silent_port_is_no_server() -> None:
    assert not await probe.ping(1, timeout_s=1)
