"""One chain for all loggers, and no secret in it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

CANARY = "canary-5f1d0c7e"


def test_canary_never_appears(launch: Any) -> None:
    service = launch("leaks", CANARY=CANARY, GATEWAY_API_KEY="literal-canary-77").until_ready()
    _, log = service.stop()
    lines = [json.loads(line) for line in log.splitlines()]
    assert CANARY not in log
    assert "literal-canary-77" not in log
    assert log.count("[redacted]") >= 6
    assert next(line for line in lines if line["event"] == "keyed")["prompt_tokens"] == 812


def test_foreign_loggers_carry_context(launch: Any) -> None:
    _, log = launch("leaks", CANARY=CANARY, GATEWAY_API_KEY="literal-canary-77").until_ready().stop()
    line = next(json.loads(line) for line in log.splitlines() if "foreign line" in line)
    assert line["logger"] == "redis"
    assert (line["service"], line["correlation"], line["tenant"]) == ("edge", "c-1", "t-1")


def test_level_silences_lower_lines(launch: Any) -> None:
    _, log = launch("drains", ARCHIVE_LOG_LEVEL="error").until_ready().stop()
    assert log == ""


def test_text_format_is_readable(launch: Any) -> None:
    _, log = launch("drains", ARCHIVE_LOG_FORMAT="text").until_ready().stop()
    assert "started" in log
    assert "{" not in log


def test_terminal_gets_colours(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    try:
        code = (
            "from archive_telemetry import *; "
            "configure_logs(EdgeSettings(), Redactor()); get_logger('x').info('started')"
        )
        subprocess.run([sys.executable, "-c", code], stderr=follower, cwd=tmp_path, check=True)
        assert b"\x1b[" in os.read(leader, 4096)
    finally:
        os.close(leader)
        os.close(follower)
