"""What every backend of the bus promises, as tests.

A backend's own tests give a ``backend`` fixture and subclass ``BusConformance``; what it does not offer it leaves out
of its declared features, and those tests are skipped by name.
"""

from archive_testkit.conformance.answers import Answering
from archive_testkit.conformance.backend import Backend, Feature, MemoryBackend
from archive_testkit.conformance.delivery import Delivering
from archive_testkit.conformance.failures import Failing
from archive_testkit.conformance.inboxes import Remembering
from archive_testkit.conformance.ordering import Ordering
from archive_testkit.conformance.priorities import Prioritising
from archive_testkit.conformance.records import Recording
from archive_testkit.conformance.requests import Requesting
from archive_testkit.conformance.timers import Delaying


class BusConformance(
    Delivering, Failing, Requesting, Recording, Answering, Delaying, Ordering, Prioritising, Remembering
):
    """All of it."""


__all__ = ["Backend", "BusConformance", "Feature", "MemoryBackend"]
