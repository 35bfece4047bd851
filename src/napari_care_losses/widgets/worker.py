"""Long work beside the viewer: the only file that knows threads.

Work is an iterator that yields reports. It runs in Qt's thread pool, is stopped at the next report, and is closed in
the thread it ran in, so that whatever it holds (files, half-written results) is put in order there. Everything the
caller is told arrives on the main thread.
"""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QMainWindow
from superqt.utils import GeneratorWorker

from napari_care_losses.core.errors import CareError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from qtpy.QtWidgets import QWidget

    MakeIterator = Callable[[], Iterator[Any]]

REPORTS_AHEAD = 8
"""Reports that may wait for the main thread: more would pile up in memory and hold up the viewer."""


class Outcome(enum.Enum):
    """How a job ended."""

    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class _Worker(GeneratorWorker[Any, None, None]):
    """Runs an iterator in the thread pool.

    superqt's own loop drops a `RuntimeError` in silence and leaves the generator to be closed on the main thread.
    """

    def __init__(self, make_iterator: MakeIterator) -> None:
        super().__init__(_nothing)
        self._make_iterator = make_iterator
        self._room = threading.Semaphore(REPORTS_AHEAD)
        self.outcome = Outcome.FAILED

    def work(self) -> None:
        if self.abort_requested:
            self.outcome = Outcome.STOPPED
            return
        iterator = self._make_iterator()
        try:
            for report in iterator:
                if not self._wait_for_room():
                    self.outcome = Outcome.STOPPED
                    return
                self.yielded.emit(report)
            self.outcome = Outcome.DONE
        finally:
            _close(iterator)

    def make_room(self) -> None:
        """Tell the worker that the main thread has dealt with a report."""
        self._room.release()

    def _wait_for_room(self) -> bool:
        # With a timeout: at the end of the application the main thread waits for the worker and makes no room.
        while not self.abort_requested:
            if self._room.acquire(timeout=0.05):
                return not self.abort_requested
        return False


class Job(QObject):
    """One piece of long work at a time, beside the viewer.

    Parameters
    ----------
    parent : QObject
        When it is destroyed, the work stops and nothing more is reported.
    """

    reported = Signal(object)
    """One report of the iterator."""

    failed = Signal(object)
    """The exception that ended the work, of which the user has been told; `finished` follows."""

    finished = Signal(object)
    """The `Outcome`: the work has ended and its iterator is closed."""

    def __init__(self, *, parent: QObject) -> None:
        super().__init__(parent)
        self._worker: _Worker | None = None
        self._error: Exception | None = None

    @property
    def is_running(self) -> bool:
        """Whether work is under way; true until `finished` is emitted."""
        return self._worker is not None

    @property
    def is_stopping(self) -> bool:
        """Whether the work has been told to stop and has not ended yet."""
        return self._worker is not None and self._worker.abort_requested

    def start(self, make_iterator: MakeIterator) -> None:
        """Start work.

        Parameters
        ----------
        make_iterator : callable
            Called in the thread; gives the iterator of reports. It must not touch Qt or layers.

        Raises
        ------
        RuntimeError
            If work is under way.
        """
        if self._worker is not None:
            raise RuntimeError("a job runs one piece of work at a time")
        worker = self._worker = _Worker(make_iterator)
        queued = Qt.ConnectionType.QueuedConnection
        signals: Any = worker.signals
        signals.yielded.connect(self._on_yielded, queued)
        signals.errored.connect(self._on_errored, queued)
        signals.finished.connect(self._on_finished, queued)
        signals.warned.connect(self._on_warned, queued)
        # The worker's method, not the job's: a job that is destroyed can do nothing any more.
        self.destroyed.connect(worker.quit)
        worker.start()

    def stop(self) -> None:
        """Stop at the next report; `finished` tells when the work has ended."""
        if self._worker is not None:
            self._worker.quit()

    def _on_yielded(self, report: object) -> None:
        worker = self._worker
        if worker is None:
            return
        try:
            if not worker.abort_requested:
                self.reported.emit(report)
        finally:
            worker.make_room()

    def _on_errored(self, error: Exception) -> None:
        if isinstance(error, CareError):
            show_error(str(error))
        else:
            notification_manager.receive_error(type(error), error, error.__traceback__)
        self.failed.emit(error)

    def _on_warned(self, warning: tuple[Any, ...]) -> None:
        notification_manager.receive_warning(*warning[:4])

    def _on_finished(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self.destroyed.disconnect(worker.quit)
            self.finished.emit(worker.outcome)


class LatestJob(QObject):
    """Runs the newest of many requests: what has become outdated is dropped.

    Parameters
    ----------
    parent : QObject
        When it is destroyed, the work stops.
    delay_ms : int
        Time without a newer request after which one is run.
    """

    reported = Signal(object)
    """A report of the newest request."""

    failed = Signal(object)
    """The exception that ended the newest request, of which the user has been told."""

    def __init__(self, *, parent: QObject, delay_ms: int = 50) -> None:
        super().__init__(parent)
        self._next: MakeIterator | None = None
        self._job = Job(parent=self)
        self._job.reported.connect(self.reported)
        self._job.failed.connect(self.failed)
        self._job.finished.connect(self._run_next)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(delay_ms)
        self._timer.timeout.connect(self._run_next)

    @property
    def is_running(self) -> bool:
        """Whether a request is waiting or under way."""
        return self._job.is_running or self._next is not None

    def request(self, make_iterator: MakeIterator) -> None:
        """Ask for work in place of all that was asked for before."""
        self._next = make_iterator
        self._job.stop()
        self._timer.start()

    def cancel(self) -> None:
        """Drop what was asked for."""
        self._next = None
        self._job.stop()

    def _run_next(self) -> None:
        if self._next is None or self._job.is_running or self._timer.isActive():
            return
        make_iterator, self._next = self._next, None
        self._job.start(make_iterator)


class CloseGuard(QObject):
    """Stops jobs when the dock of their widget, or the viewer, is closed; a dock that is only hidden lets them go on.

    Parameters
    ----------
    widget : QWidget
        The widget in the dock; it is deleted with its dock.
    """

    closed = Signal()
    """The dock or the viewer was closed."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self._window: QMainWindow | None = None
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look out for the events that closing brings about."""
        assert event is not None
        kind = event.type()
        if watched is self._widget and kind == QEvent.Type.ParentChange and self._widget.parent() is None:
            self.closed.emit()
            # Left to the garbage collector, it could be deleted in the thread that collects.
            self._widget.deleteLater()
        elif watched is self._widget and kind == QEvent.Type.Show and self._window is None:
            self._window = _main_window(self._widget)
            if self._window is not None:
                self._window.installEventFilter(self)
        elif watched is self._window and kind == QEvent.Type.Hide and not event.spontaneous():
            self.closed.emit()
        return False


def _main_window(widget: QWidget) -> QMainWindow | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QMainWindow):
        parent = parent.parentWidget()
    return parent


def _close(iterator: Iterator[Any]) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


def _nothing() -> Generator[None, None, None]:
    yield
