"""Base of the panels that do one job."""

from __future__ import annotations

from abc import abstractmethod

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_care_losses.widgets.background.imports import all_libraries
from napari_care_losses.widgets.background.worker import Job, Outcome
from napari_care_losses.widgets.shared.closing import CloseGuard
from napari_care_losses.widgets.shared.form import Rows
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.run_bar import RunBar


class JobPanel(QWidget):
    """The settings of a job, and a bar that runs it; `failed` stands before the reason of a failure."""

    def __init__(self, start: str, *, start_help: str, stop_help: str, failed: str) -> None:
        super().__init__()
        self._job = Job(parent=self, libraries=self._libraries, gives_way=True)
        self.rows = Rows()
        self.run_bar = RunBar(start, "Stop", start_help=start_help, stop_help=stop_help)
        arrange(QVBoxLayout(self), self.rows.native, self.run_bar, spacing=6)
        self.run_bar.started.connect(self._on_started)
        self.run_bar.stopped.connect(self._stop)
        self._job.failed.connect(lambda error: self.run_bar.say(f"{failed}: {error}"))
        self._job.finished.connect(self._on_finished)
        CloseGuard(self).closed.connect(self._job.stop)

    @property
    def is_running(self) -> bool:
        """Whether the job runs."""
        return self._job.is_running

    def _libraries(self) -> tuple[str, ...]:
        """Return the packages that the job needs."""
        return all_libraries()

    @abstractmethod
    def _problem(self) -> str:
        """Return why the job cannot be started; empty if it can."""

    @abstractmethod
    def _start(self) -> None:
        """Start the job."""

    @abstractmethod
    def _ended(self, outcome: Outcome) -> None:
        """Show how the job ended."""

    def _update(self) -> None:
        self.run_bar.set_state(
            is_running=self._job.is_running, is_stopping=self._job.is_stopping, reason=self._problem()
        )

    def _on_started(self) -> None:
        if not self._job.is_running and not self._problem():
            self.run_bar.show_progress(-1)
            self._start()
            self._update()

    def _stop(self) -> None:
        self._job.stop()
        self.run_bar.say("Stopping…")
        self._update()

    def _on_finished(self, outcome: Outcome) -> None:
        self._ended(outcome)
        self._update()
