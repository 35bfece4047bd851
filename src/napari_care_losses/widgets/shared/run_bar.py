"""Start and stop buttons, a progress bar and lines of text."""

from __future__ import annotations

import time

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_care_losses.widgets.shared.form import tooltip
from napari_care_losses.widgets.shared.layout import arrange

STEPS = 1000


class RunBar(QWidget):
    """Starts and stops one job and shows its progress; the parameters are texts and tooltips of the two buttons.

    Without `has_progress` there is no bar: the job has no end.
    """

    started = Signal()
    stopped = Signal()

    def __init__(self, start: str, stop: str, *, start_help: str, stop_help: str, has_progress: bool = True) -> None:
        super().__init__()
        self._has_progress = has_progress
        self.start_button, self.stop_button = QPushButton(start), QPushButton(stop)
        self.start_button.setToolTip(tooltip(start_help))
        self.stop_button.setToolTip(tooltip(stop_help))
        self.start_button.clicked.connect(self.started)
        self.stop_button.clicked.connect(self.stopped)
        self.reason, self.status = text_line(), text_line()
        self.progress = QProgressBar()
        self.progress.setRange(0, STEPS)
        self.progress.setVisible(False)
        self._buttons = QHBoxLayout()
        self._buttons.addWidget(self.start_button, 1)
        self._buttons.addWidget(self.stop_button, 1)
        arrange(QVBoxLayout(self), self._buttons, self.reason, self.progress, self.status, margins=(0, 4, 0, 0))

    def add_button(self, button: QPushButton) -> None:
        """Put a further button between Start and Stop."""
        self._buttons.insertWidget(1, button, 1)

    def set_state(self, *, is_running: bool, is_stopping: bool = False, reason: str = "") -> None:
        """Enable the buttons that can be used; `reason` says why Start cannot."""
        self.start_button.setEnabled(not is_running and not reason)
        self.stop_button.setEnabled(is_running and not is_stopping)
        self.progress.setVisible(is_running and self._has_progress)
        show_text(self.reason, "" if is_running else reason)

    def show_progress(self, fraction: float) -> None:
        """Show the part done, 0 to 1; below 0 where it is not known yet."""
        self.progress.setRange(0, 0 if fraction < 0 else STEPS)
        self.progress.setValue(round(max(0.0, fraction) * STEPS))

    def say(self, text: str) -> None:
        """Show a line of text."""
        show_text(self.status, text)


class Clock:
    """Estimates the time left from the time taken."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def seconds_left(self, done: float, total: float) -> float:
        """Return the seconds the rest takes at the speed so far."""
        return self.seconds * (total - done) / done if done else 0.0


def duration(seconds: float) -> str:
    """Return a duration as text: 8 s, 1:05 min, 2:03 h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02} h"


def show_text(label: QLabel, text: str) -> None:
    """Show a text, or hide the label if it is empty."""
    label.setText(text)
    label.setVisible(bool(text))


def text_line(help: str = "") -> QLabel:
    """Return a label for text that can be selected; hidden while it is empty."""
    line = QLabel()
    line.setToolTip(tooltip(help))
    line.setWordWrap(True)
    line.setTextFormat(Qt.TextFormat.PlainText)
    line.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    line.setVisible(False)
    return line
