"""What the tests of work beside the viewer share."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_care_losses.widgets.worker import Job, Outcome


class Heard:
    """Everything a job says, and whether it said so on the main thread."""

    def __init__(self, job: Job) -> None:
        self.reports: list[object] = []
        self.errors: list[Exception] = []
        self.outcomes: list[Outcome] = []
        self.threads: set[threading.Thread] = set()
        job.reported.connect(lambda report: self._add(self.reports, report))
        job.failed.connect(lambda error: self._add(self.errors, error))
        job.finished.connect(lambda outcome: self._add(self.outcomes, outcome))

    def _add(self, said: list, what: object) -> None:
        said.append(what)
        self.threads.add(threading.current_thread())


class Counter:
    """Counts without end and notes where it was closed."""

    def __init__(self) -> None:
        self.count = 0
        self.closed_in: threading.Thread | None = None

    def __call__(self) -> Iterator[int]:
        try:
            while True:
                self.count += 1
                yield self.count
                time.sleep(0.001)
        finally:
            self.closed_in = threading.current_thread()
