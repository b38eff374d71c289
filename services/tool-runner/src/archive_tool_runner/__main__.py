"""Run the tool runner."""

from archive_telemetry import run
from archive_tool_runner.app import build
from archive_tool_runner.settings import Settings


def main() -> None:
    """Run until told to stop."""
    run(build(Settings()))  # pyright: ignore[reportCallIssue] - required fields come from the environment


if __name__ == "__main__":
    main()
