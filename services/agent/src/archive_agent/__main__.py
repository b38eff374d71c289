"""Run the agent."""

from archive_agent.app import build
from archive_agent.settings import Settings
from archive_telemetry import run


def main() -> None:
    """Run until told to stop."""
    run(build(Settings()))  # pyright: ignore[reportCallIssue] - required fields come from the environment


if __name__ == "__main__":
    main()
