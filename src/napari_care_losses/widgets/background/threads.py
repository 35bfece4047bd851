"""The threads of background work: one low-priority thread per job, which ends with the job."""

from __future__ import annotations

import atexit
import enum
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QCoreApplication, QThread, QThreadPool
from superqt.utils import GeneratorWorker

from napari_care_losses.compute.cores import limit_threads
from napari_care_losses.widgets.background.attention import Attention
from napari_care_losses.widgets.background.garbage_collection import GarbageGuard
from napari_care_losses.widgets.background.imports import load, lower_priority

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator

    MakeIterator = Callable[[], Iterator[Any]]

REPORTS_AHEAD = 32
"""Reports that may wait for the main thread; the worker then waits, so that they do not fill the memory."""

POOL_NAME = "napari-care-losses"


class Outcome(enum.Enum):
    """How a job ended."""

    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class Worker(GeneratorWorker[Any, None, None]):
    """Runs an iterator in a low-priority thread; one that `gives_way` leaves a CPU core to somebody using the viewer.

    superqt's own loop silently drops a `RuntimeError` and closes the generator on the main thread. Its pool has one
    thread per CPU core, so two long jobs could keep all others waiting.
    """

    def __init__(self, make_iterator: MakeIterator, *, libraries: Collection[str], gives_way: bool = False) -> None:
        super().__init__(_nothing)
        self._make_iterator, self._libraries, self._gives_way = make_iterator, libraries, gives_way
        self._room = threading.Semaphore(REPORTS_AHEAD)
        self._reports: deque[Any] = deque()
        self._is_announced = False
        self.outcome = Outcome.FAILED

    def start(self) -> None:
        """Start the work in a thread of the pool."""
        if self in self._worker_set:
            raise RuntimeError("this worker has been started")
        self._worker_set.add(self)
        self._finished.connect(self._set_discard)
        pool = thread_pool()
        garbage_guard(pool).hold()
        if self._gives_way:
            self._attention = attention(pool)
            self._attention.watch()
        pool.start(self)

    def work(self) -> None:
        """Run the iterator, in the thread."""
        if self.abort_requested:
            self.outcome = Outcome.STOPPED
            return
        if self._libraries:
            # Before the priority is lowered: an import holds the GIL, and the viewer may wait for it.
            load(self._libraries)
            from napari_care_losses.compute.devices import leave_a_core

            leave_a_core()
        if self._gives_way:
            limit_threads(self._attention.cores)
        lower_priority()
        # for Windows and macOS
        QThread.currentThread().setPriority(QThread.Priority.LowPriority)
        iterator = self._make_iterator()
        try:
            for report in iterator:
                if not self._wait_for_room():
                    self.outcome = Outcome.STOPPED
                    return
                self._reports.append(report)
                if not self._is_announced:
                    self._is_announced = True
                    self.yielded.emit(None)
            self.outcome = Outcome.DONE
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def take(self) -> Iterator[Any]:
        """Yield the waiting reports, on the main thread."""
        self._is_announced = False
        while self._reports:
            report = self._reports.popleft()
            self._room.release()
            yield report

    @property
    def has_reports(self) -> bool:
        """Whether reports wait for the main thread."""
        return bool(self._reports)

    def _wait_for_room(self) -> bool:
        # With a timeout: when the application ends, the main thread waits for the worker and takes no reports.
        while not self.abort_requested:
            if self._room.acquire(timeout=0.05):
                return not self.abort_requested
        return False


def thread_pool() -> QThreadPool:
    """Return the thread pool of all jobs; its application waits at its end for the running ones."""
    application = QCoreApplication.instance()
    pool = application.findChild(QThreadPool, POOL_NAME)
    if pool is None:
        # Threads do not outlive their job: a priority can be lowered, but not raised again.
        pool = QThreadPool(application, objectName=POOL_NAME, maxThreadCount=64, expiryTimeout=0)
        application.aboutToQuit.connect(lambda: _stop_all(pool))
        # A script that never ran the event loop does not quit the application.
        atexit.register(_stop_all, pool)
    return pool


def garbage_guard(pool: QThreadPool) -> GarbageGuard:
    """Return the `GarbageGuard` of a thread pool."""
    return pool.findChild(GarbageGuard) or GarbageGuard(lambda: pool.activeThreadCount() > 0, parent=pool)


def attention(pool: QThreadPool) -> Attention:
    """Return the `Attention` of a thread pool."""
    return pool.findChild(Attention) or Attention(lambda: pool.activeThreadCount() > 0, parent=pool)


def _stop_all(pool: QThreadPool) -> None:
    for worker in tuple(Worker._worker_set):
        worker.quit()
    # The pool may be gone already, deleted with the application, which has waited for it.
    with suppress(RuntimeError):
        pool.waitForDone()


def _nothing() -> Generator[None, None, None]:
    yield
