"""Background work that napari's window knows of: its dialog of closing asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fixtures.viewer_work import Counter, Heard
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QDialog, QWidget

from napari_care_losses.widgets.background.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    from pytestqt.qtbot import QtBot


def work(end: str) -> Iterator[int]:
    yield 1
    if end == "FAILED":
        raise ValueError("for the test")
    while end == "CANCELLED":
        yield 2


class Spontaneous(QCloseEvent):
    """As the button of the window makes it."""

    def spontaneous(self) -> bool:
        return True


@pytest.mark.parametrize("end", ["COMPLETED", "CANCELLED", "FAILED"])
def test_work_is_named_while_it_runs(
    end: str, make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot, notified: list
) -> None:
    window = make_napari_viewer().window
    widget = QWidget()
    window.add_dock_widget(widget)
    status = window._task_status_manager
    job = Job(parent=widget)
    heard = Heard(job)
    job.start(lambda: work(end), title="Training a")
    assert status.get_status() == ["CARE Losses: Training a"]
    if end == "CANCELLED":
        job.stop()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert not status.get_status()
    (item,) = status._tasks.values()
    assert item.state()[2].name == end


def test_untitled_work_is_not_asked_about(make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot) -> None:
    window = make_napari_viewer().window
    widget = QWidget()
    window.add_dock_widget(widget)
    job = Job(parent=widget)
    heard = Heard(job)
    job.start(lambda: iter([1]))
    assert not window._task_status_manager.get_status()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)


def test_the_dialog_of_closing_asks(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Dialog:
        def __init__(self, *_args: object, extra_info: str = "", **_options: object) -> None:
            asked.append(extra_info)

        def exec_(self) -> int:
            return QDialog.DialogCode.Rejected

    monkeypatch.setattr("napari._qt.qt_main_window.ConfirmCloseDialog", Dialog)
    window = make_napari_viewer().window
    widget = QWidget()
    window.add_dock_widget(widget)
    job = Job(parent=widget)
    heard = Heard(job)
    job.start(Counter(), title="Restoring b")
    event = Spontaneous()
    window._qt_window.closeEvent(event)
    assert asked == ["CARE Losses: Restoring b"]
    assert not event.isAccepted()
    assert job.is_running
    window._task_status_manager.cancel_all()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)


def test_a_destroyed_job_is_forgotten(make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot) -> None:
    window = make_napari_viewer().window
    widget = QWidget()
    window.add_dock_widget(widget)
    job, counter = Job(parent=widget), Counter()
    job.start(counter, title="Training a")
    qtbot.waitUntil(lambda: counter.count > 0, timeout=30_000)
    job.deleteLater()
    qtbot.waitUntil(lambda: counter.closed_in is not None, timeout=30_000)
    assert not window._task_status_manager.is_busy()


def test_a_window_without_task_status(qtbot: QtBot) -> None:
    widget = QWidget()
    qtbot.addWidget(widget)
    widget._window = object()
    job = Job(parent=widget)
    heard = Heard(job)
    job.start(lambda: iter([1]), title="Training a")
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert heard.reports == [1]
