from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fixtures.train_widget import add_pair, is_stepping, make_widget, press_start, stop
from fixtures.viewer_work import Counter, Heard
from napari.utils import progress
from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QApplication, QLabel, QWidget

from napari_care_losses.errors import InputError
from napari_care_losses.widgets.background import activity
from napari_care_losses.widgets.background.worker import Job, LatestJob
from napari_care_losses.widgets.shared.events import SingleShot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "BAR_DELAY_MS", 20)


class Meanwhile:
    """Stands in for `QApplication` where napari's dock has events processed: something happens in one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
        self._do = do
        for module in ("widgets.qt_progress_bar", "dialogs.qt_activity_dialog"):
            monkeypatch.setattr(f"napari._qt.{module}.QApplication", self)

    def processEvents(self) -> None:
        # as an event: what is deleted in one is gone before the dock goes on
        QTimer.singleShot(0, self._do)
        QApplication.processEvents()


def test_work_with_a_title_shows_until_it_ends(job: Job, qtbot: QtBot, capfd) -> None:
    heard, go_on = Heard(job), threading.Event()

    def work() -> Iterator[float | None]:
        yield 0.25
        yield None
        go_on.wait(10)

    job.start(work, title="Restoring actin", fraction=lambda report: report)
    qtbot.waitUntil(lambda: bool(progress._all_instances), timeout=30_000)
    (bar,) = progress._all_instances
    assert str(bar.desc).startswith("Restoring actin")
    qtbot.waitUntil(lambda: bool(bar.total) and bar.n == bar.total / 4, timeout=30_000)
    go_on.set()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    qtbot.waitUntil(lambda: not progress._all_instances, timeout=30_000)
    assert heard.reports == [0.25, None]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("way", ["stopped", "failed", "destroyed"])
def test_the_bar_goes_however_the_work_ends(way: str, qtbot: QtBot, notified: list) -> None:
    go_on = threading.Event()

    def fail() -> Iterator[float]:
        yield 0.5
        go_on.wait(10)
        raise InputError("choose another image")

    holder = QObject()
    job = Job(parent=holder)
    heard = Heard(job)
    job.start(fail if way == "failed" else Counter(), title=way, fraction=lambda _: 0.5)
    qtbot.waitUntil(lambda: [bar.n for bar in progress._all_instances] == [activity.BAR_STEPS / 2], timeout=30_000)
    go_on.set()
    if way == "stopped":
        job.stop()
    elif way == "destroyed":
        holder.deleteLater()
    qtbot.waitUntil(lambda: not progress._all_instances, timeout=30_000)
    qtbot.waitUntil(lambda: bool(heard.outcomes) or way == "destroyed", timeout=30_000)


def test_short_work_shows_no_bar(owner: QObject, job: Job, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "BAR_DELAY_MS", 10_000)
    seen: list[object] = []
    progress._all_instances.events.changed.connect(seen.append)
    latest = LatestJob(parent=owner, delay_ms=1)
    latest.request(lambda: iter([1]))
    job.start(lambda: iter([1]), title="Saving cells.tif", fraction=lambda _: 0.5)
    qtbot.waitUntil(lambda: not (latest.is_running or job.is_running), timeout=30_000)
    qtbot.wait(20)
    assert seen == []


def test_no_slot_waits_for_the_dock(
    make_napari_viewer, job: Job, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks: list[set[str]] = []

    def note() -> None:
        frame, names = sys._getframe(), set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        stacks.append(names)

    make_napari_viewer()
    heard = Heard(job)
    Meanwhile(monkeypatch, note)
    job.start(Counter(), title="Restoring actin", fraction=lambda report: report / 1000)
    assert not stacks
    qtbot.waitUntil(lambda: len(stacks) > 5, timeout=30_000)
    job.stop()
    qtbot.waitUntil(lambda: bool(heard.outcomes) and not progress._all_instances, timeout=30_000)
    assert all(names.isdisjoint({"start", "_take_reports", "_report", "_end"}) for names in stacks)


@pytest.mark.parametrize("moves", [1, 4, 9])
@pytest.mark.parametrize("what", ["work", "widget", "viewer"])
def test_anything_may_end_in_the_events_that_the_dock_has_processed(
    what: str, moves: int, make_napari_viewer, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, counter, times = make_napari_viewer(), Counter(), [0]
    widget = QWidget()
    label = QLabel(widget)
    job = Job(parent=widget)
    job.finished.connect(lambda outcome: label.setText(outcome.value))

    def end() -> None:
        times[0] += 1
        if times[0] == moves:
            {"work": job.stop, "widget": widget.deleteLater, "viewer": viewer.close}[what]()

    Meanwhile(monkeypatch, end)
    job.start(counter, title="Restoring actin", fraction=lambda report: report % 100 / 100)
    qtbot.waitUntil(lambda: times[0] >= moves, timeout=30_000)
    if what == "viewer":
        job.stop()
    qtbot.waitUntil(lambda: counter.closed_in is not None and not progress._all_instances, timeout=30_000)
    if what != "widget":
        qtbot.waitUntil(lambda: label.text() == "stopped", timeout=30_000)
        widget.deleteLater()


@pytest.mark.parametrize("run", [0, *(pytest.param(run, marks=pytest.mark.slow) for run in range(1, 20))])
def test_the_viewer_lives_on_where_the_dock_draws_slowly(run: int) -> None:
    script = Path(__file__).parents[2] / "fixtures" / "slow_dock.py"
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=150, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "all is well"), ended.stderr[-2000:]


def test_a_call_that_processes_events_is_not_called_again_within(owner: QObject, qtbot: QtBot) -> None:
    calls: list[str] = []

    def call() -> None:
        calls.append("begun")
        if len(calls) == 1:
            timer.start()
            assert timer.isActive()
            QApplication.processEvents()
        calls.append("ended")

    timer = SingleShot(owner, 0, call)
    timer.start()
    qtbot.waitUntil(lambda: len(calls) == 4, timeout=30_000)
    assert calls == ["begun", "ended"] * 2
    assert not timer.isActive()
    timer.start()
    timer.stop()
    qtbot.wait(20)
    assert len(calls) == 4


def test_a_training_shows_with_its_part_done(viewer, stack, qtbot: QtBot) -> None:
    widget = make_widget(viewer, add_pair(viewer, stack), qtbot)
    widget.form.set_values({"amount": 1e6})
    press_start(widget, qtbot, until=lambda: is_stepping(widget))
    (bar,) = progress._all_instances
    assert bar.desc.startswith(f"Training {widget.queue.running.name}")
    qtbot.waitUntil(lambda: bar.total == activity.BAR_STEPS, timeout=30_000)
    stop(widget, qtbot)
    qtbot.waitUntil(lambda: not progress._all_instances, timeout=30_000)
