"""What can be wrong with the edge of a process.

TelemetryError
├── SettingError      an environment variable holds a value that cannot be used
└── HealthPortError     the health port is not free
"""

from typing import ClassVar


class TelemetryError(Exception):
    """Something the operator has to change before the process can run.

    `code` is stable and for programs, `message` says what happened, `next_step` what to do.
    """

    code: ClassVar[str] = "telemetry_error"

    def __init__(self, message: str, *, next_step: str) -> None:
        super().__init__(f"{message}; {next_step}")
        self.message = message
        self.next_step = next_step


class SettingError(TelemetryError):
    """An environment variable holds a value that cannot be used."""

    code = "setting_invalid"


class HealthPortError(TelemetryError):
    """The health port is not free."""

    code = "health_port_taken"
