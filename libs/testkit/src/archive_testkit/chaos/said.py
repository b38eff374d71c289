"""What the bus says in its log, as notes."""

import logging

from archive_testkit.chaos.history import Recorder, What


class Announced(logging.Handler):
    """Notes when the bus says that a stream went and took messages with it."""

    def __init__(self, notes: Recorder) -> None:
        super().__init__(logging.ERROR)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        if "lost" in (text := record.getMessage()) and "gone" in text:
            self._notes.note(What.SAID, detail=text)


def announce(notes: Recorder) -> None:
    """Note from now on when the bus of this process says that messages were lost."""
    logging.getLogger("archive_bus").addHandler(Announced(notes))
