"""The bundled model server as a process."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "archive_cli.model_server"]


def _start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([*COMMAND, "--ctx", "1024", *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://[\d.:]+", line):
            return process, found[0]
    pytest.fail("the model server ended before it was ready")


def _stop(process: subprocess.Popen[str], number: signal.Signals) -> int:
    process.send_signal(number)
    code = process.wait(30)
    assert process.stderr is not None
    process.stderr.close()
    return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_in_mid_answer(number: signal.Signals) -> None:
    process, address = _start("--port", "0")
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True, "ignore_eos": True, "max_tokens": 500}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    begun = threading.Event()

    def read() -> None:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                response.readline()
                begun.set()
                response.read()
        except (OSError, http.client.HTTPException):
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(60)
    assert _stop(process, number) == 0
    reader.join(30)
    assert not reader.is_alive()


def test_lists_model_without_path() -> None:
    process, address = _start("--port", "0")
    try:
        with urllib.request.urlopen(f"{address}/v1/models", timeout=30) as response:
            listed = response.read().decode()
            assert response.headers.get("access-control-allow-origin") != "*"
        assert json.loads(listed)["data"][0]["id"] == "smollm2-135m-instruct"
        assert ".gguf" not in listed
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/slots", timeout=30)
    finally:
        assert _stop(process, signal.SIGTERM) == 0


def _refusal(*arguments: str) -> tuple[int, str]:
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return ended.returncode, ended.stderr


def test_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, said = _refusal("--port", port, "--ctx", "1024")
    assert code == 1
    assert f"port {port}" in said


def test_bad_model_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    assert _refusal("--port", "0", "--model", str(path))[0] == 1
    path.write_bytes(b"no model")
    code, said = _refusal("--port", "0", "--model", str(path))
    assert code == 1
    assert "cannot serve x.gguf" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [("--host", "0.0.0.0"), ("--ctx", "100"), ("--slots", "0")])
def test_bad_arguments_are_refused(arguments: tuple[str, str]) -> None:
    assert _refusal("--port", "0", *arguments)[0] == 2
