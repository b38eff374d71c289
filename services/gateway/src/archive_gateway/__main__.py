"""Run the gateway."""

import sys

from pydantic import ValidationError

from archive_gateway.app import build
from archive_gateway.settings import Settings
from archive_telemetry import run

UNUSABLE = 2
"""Exit code of a process whose environment has to be changed before it can run."""


def main() -> None:
    """Run until told to stop."""
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue] - required fields come from the environment
    except ValidationError as error:
        sys.stderr.write(_in_words(error))
        sys.exit(UNUSABLE)
    run(build(settings))


def _in_words(error: ValidationError) -> str:
    """Return what is wrong with the environment, without the values: keys are among them."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [
        f"gateway: {'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
        for item in found
    ]
    return "\n".join(line.replace("gateway: : ", "gateway: ") for line in lines) + "\n"


if __name__ == "__main__":
    main()
