import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from archive_cli.child import Child, describe_exit, rotate
from archive_cli.plan import Process, Wave

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, {leash!r}, str(__import__("os").getpid()), "sleep", "60"])
sys.stdout.write(f"{{child.pid}}\\n")
sys.stdout.flush()
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def plan(*command: str) -> Process:
    return Process(name="one", service="one", wave=Wave.SERVICE, command=command)


async def test_output_lands_in_the_log(tmp_path: Path) -> None:
    child = await Child.start(plan("sh", "-c", "echo out; echo err >&2"), logs=tmp_path, env=os.environ)
    assert await child.wait() == 0
    assert child.last_lines() == ["out", "err"]


async def test_last_lines_are_of_this_start(tmp_path: Path) -> None:
    for word in ("first", "second"):
        child = await Child.start(plan("echo", word), logs=tmp_path, env=os.environ)
        await child.wait()
    assert child.last_lines() == ["second"]
    assert (tmp_path / "one.log").read_text() == "first\nsecond\n"


async def test_missing_program_is_told(tmp_path: Path) -> None:
    child = await Child.start(plan("no-such-program"), logs=tmp_path, env=os.environ)
    assert await child.wait() == 127
    assert "no-such-program cannot be run" in child.last_lines()[0]


async def test_kill_reaches_grandchildren(tmp_path: Path) -> None:
    child = await Child.start(plan("sh", "-c", "sleep 60 & echo $!; wait"), logs=tmp_path, env=os.environ)
    async with asyncio.timeout(20):
        while not child.last_lines():
            await asyncio.sleep(0.02)
    grandchild = int(child.last_lines()[0])
    child.kill()
    assert await child.wait() == -signal.SIGKILL
    async with asyncio.timeout(20):
        while alive(grandchild):
            await asyncio.sleep(0.02)


def test_leash_ends_with_its_parent() -> None:
    leash = str(Path(sys.modules["archive_cli.leash"].__file__ or ""))
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(leash=leash)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while alive(child):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_big_logs_move_aside(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    for text in ("a", "b", "c", "d", "e"):
        log.write_text(text * (5 << 20))
        rotate(tmp_path)
    kept = {path.name: path.read_text()[0] for path in tmp_path.iterdir()}
    assert kept == {"one.log.1": "e", "one.log.2": "d", "one.log.3": "c"}


def test_small_logs_stay(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text("a")
    rotate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["one.log"]


def test_exit_is_described_in_words() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(-64) == "killed by SIGRTMAX"
