"""Run the console."""

import sys

from pydantic import ValidationError

from archive_console.app import build
from archive_console.settings import Settings
from archive_telemetry import run

UNUSABLE = 2
"""Exit code of a process whose environment has to be changed before it can run."""


def main() -> None:
    """Run until told to stop."""
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue] - required fields come from the environment
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        for item in found:
            place = ".".join(str(part) for part in item["loc"])
            sys.stderr.write(f"console: {place}{': ' if place else ''}{item['msg'].removeprefix('Value error, ')}\n")
        sys.exit(UNUSABLE)
    run(build(settings))


if __name__ == "__main__":
    main()
