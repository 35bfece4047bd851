"""Long work in the background.

Work is an iterator that yields reports. It runs in a thread, stops at the next report, and is closed in the thread it
ran in, where it closes its files and removes half-written results. All signals arrive on the main thread: every report,
in order, in short turns that leave the viewer time for its own events.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QObject, Qt, Signal

from napari_care_losses.errors import CareError
from napari_care_losses.widgets.background.activity import ActivityBar
from napari_care_losses.widgets.background.task_status import WindowTask
from napari_care_losses.widgets.background.threads import Outcome, Worker
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from napari_care_losses.widgets.background.threads import MakeIterator

__all__ = ["Job", "LatestJob", "Outcome"]

REPORT_PAUSE_MS = 50
"""Time between two turns in which the main thread handles reports."""

TURN_MS = 10
"""Length of such a turn; the remaining reports wait for the next one."""

TASK_ENDS = {Outcome.DONE: "COMPLETED", Outcome.STOPPED: "CANCELLED", Outcome.FAILED: "FAILED"}
"""How napari calls the ends of a job."""


class Job(QObject):
    """One piece of long work at a time, in the background.

    Parameters
    ----------
    parent : QObject
        When it is destroyed, the work stops and nothing more is reported.
    libraries : callable, optional
        Called when work starts; returns which packages it needs (`napari_care_losses.widgets.background.imports`), as
        `napari_care_losses.restoration.engines.choose.libraries` does. They are loaded first, without blocking the
        viewer, and compute on all CPU cores but one. By default none.
    gives_way : bool
        Whether the restoring of the work leaves a CPU core free while somebody uses the viewer, also where there are
        two only: for long work, for which nobody waits at the mouse.
    """

    reported = Signal(object)
    """One report of the iterator."""

    failed = Signal(object)
    """The exception that ended the work; it has been shown to the user, and `finished` follows."""

    finished = Signal(object)
    """The `Outcome`; the work has ended and its iterator is closed."""

    def __init__(
        self, *, parent: QObject, libraries: Callable[[], Collection[str]] = tuple, gives_way: bool = False
    ) -> None:
        super().__init__(parent)
        self._libraries, self._gives_way = libraries, gives_way
        self._worker: Worker | None = None
        self._error: Exception | None = None
        self._has_ended = False
        self._bar: ActivityBar | None = None
        self._task: WindowTask | None = None
        self._pause = SingleShot(self, REPORT_PAUSE_MS, self._take_reports)

    @property
    def is_running(self) -> bool:
        """Whether work is running; true until `finished` is emitted."""
        return self._worker is not None

    @property
    def is_stopping(self) -> bool:
        """Whether the work was asked to stop and has not ended yet."""
        return self._worker is not None and self._worker.abort_requested

    def start(
        self,
        make_iterator: MakeIterator,
        *,
        title: str = "",
        fraction: Callable[[Any], float | None] = lambda _: None,
    ) -> None:
        """Start work.

        Parameters
        ----------
        make_iterator : callable
            Called in the thread; returns the iterator of reports. It must not touch Qt or layers.
        title : str
            Title in napari's activity dock and in its dialog of closing; empty shows nothing there.
        fraction : callable, optional
            Returns the part of the work done at a report, 0 to 1, or None where the report does not say.

        Raises
        ------
        RuntimeError
            If work is already running.
        """
        if self._worker is not None:
            raise RuntimeError("a job runs one piece of work at a time")
        worker = self._worker = Worker(make_iterator, libraries=self._libraries(), gives_way=self._gives_way)
        self._error, self._has_ended, self._fraction = None, False, fraction
        self._bar = ActivityBar(title) if title else None
        self._task = WindowTask(self, title, worker) if title else None
        queued = Qt.ConnectionType.QueuedConnection
        signals: Any = worker.signals
        signals.yielded.connect(self._on_yielded, queued)
        signals.errored.connect(self._on_errored, queued)
        signals.finished.connect(self._on_finished, queued)
        signals.warned.connect(self._on_warned, queued)
        # Connected to the worker, not to the job: a destroyed job runs no slots.
        self.destroyed.connect(worker.quit)
        if self._bar is not None:
            self.destroyed.connect(self._bar.close)
        if self._task is not None:
            self.destroyed.connect(self._task.forget)
        worker.start()

    def stop(self) -> None:
        """Stop at the next report; `finished` is emitted when the work has ended."""
        if self._worker is not None:
            self._worker.quit()

    def _on_yielded(self, _: None) -> None:
        if not self._pause.isActive():
            self._take_reports()

    def _on_errored(self, error: Exception) -> None:
        self._error = error

    def _on_warned(self, warning: tuple[Any, ...]) -> None:
        notification_manager.receive_warning(*warning[:4])

    def _on_finished(self) -> None:
        self._has_ended = True
        self._take_reports()

    def _take_reports(self) -> None:
        worker = self._worker
        if worker is None:
            return
        # A slot connected to `reported` may process events, which may call this method again.
        self._pause.start()
        # not `monotonic`, which Windows advances every 16 ms
        end = time.perf_counter() + TURN_MS / 1000
        for report in worker.take():
            if not worker.abort_requested:
                self._report(report)
                if time.perf_counter() > end:
                    break
        if self._has_ended and not worker.has_reports and self._worker is worker:
            self._pause.stop()
            self._end(worker)

    def _report(self, report: object) -> None:
        done = self._fraction(report)
        if done is not None and self._bar is not None:
            self._bar.show_fraction(done)
        self.reported.emit(report)

    def _end(self, worker: Worker) -> None:
        self.destroyed.disconnect(worker.quit)
        if self._bar is not None:
            self.destroyed.disconnect(self._bar.close)
            self._bar.close()
            self._bar = None
        if self._task is not None:
            self.destroyed.disconnect(self._task.forget)
            self._task.end(TASK_ENDS[worker.outcome])
            self._task = None
        error, self._error = self._error, None
        if error is not None:
            _show(error)
            self.failed.emit(error)
        self._worker = None
        self.finished.emit(worker.outcome)


class LatestJob(QObject):
    """Runs the newest of many requests and drops the older ones.

    Parameters
    ----------
    parent, libraries
        As for `Job`.
    delay_ms : int
        Time without a newer request after which a request runs.
    """

    reported = Signal(object)
    """A report of the newest request."""

    failed = Signal(object)
    """The exception that ended the newest request; it has been shown to the user."""

    def __init__(
        self, *, parent: QObject, delay_ms: int = 50, libraries: Callable[[], Collection[str]] = tuple
    ) -> None:
        super().__init__(parent)
        self._next: MakeIterator | None = None
        self._job = Job(parent=self, libraries=libraries)
        self._job.reported.connect(self.reported)
        self._job.failed.connect(self.failed)
        self._job.finished.connect(self._run_next)
        self._timer = SingleShot(self, delay_ms, self._run_next)

    @property
    def is_running(self) -> bool:
        """Whether a request is waiting or running."""
        return self._job.is_running or self._next is not None

    def request(self, make_iterator: MakeIterator) -> None:
        """Replace all earlier requests by this one."""
        self._next = make_iterator
        self._job.stop()
        self._timer.start()

    def cancel(self) -> None:
        """Drop the current request."""
        self._next = None
        self._job.stop()

    def _run_next(self) -> None:
        if self._next is None or self._job.is_running or self._timer.isActive():
            return
        make_iterator, self._next = self._next, None
        self._job.start(make_iterator)


def _show(error: Exception) -> None:
    if isinstance(error, CareError):
        show_error(str(error))
    elif isinstance(error, MemoryError):
        what = f" ({error})" if str(error) else ""
        show_error(f"The memory ran out{what}: close other programs or layers, or work on a smaller image.")
    else:
        notification_manager.receive_error(type(error), error, error.__traceback__)
