from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from fixtures.viewer_work import Counter, Heard
from napari.utils.notifications import NotificationSeverity
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

from napari_care_losses.errors import InputError
from napari_care_losses.widgets.background.imports import NICENESS
from napari_care_losses.widgets.background.threads import REPORTS_AHEAD
from napari_care_losses.widgets.background.worker import REPORT_PAUSE_MS, TURN_MS, Job, LatestJob, Outcome
from napari_care_losses.widgets.shared.closing import CloseGuard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot


def test_reports_arrive_in_order_on_the_main_thread(job: Job, qtbot: QtBot) -> None:
    heard = Heard(job)
    job.start(lambda: iter(range(50)))
    assert job.is_running
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert heard.reports == list(range(50))
    assert heard.outcomes == [Outcome.DONE]
    assert heard.threads == {threading.main_thread()}
    assert not job.is_running


def test_the_work_runs_in_another_thread(job: Job, qtbot: QtBot) -> None:
    heard = Heard(job)
    job.start(lambda: iter([threading.current_thread()]))
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert heard.reports[0] is not threading.main_thread()


@pytest.mark.parametrize(
    "error",
    [RuntimeError("shapes differ"), MemoryError("no room"), KeyError("gone"), InputError("choose another image")],
)
def test_every_error_reaches_the_user(error: Exception, job: Job, qtbot: QtBot, notified: list) -> None:
    def work() -> Iterator[int]:
        yield 1
        raise error

    heard = Heard(job)
    job.start(work)
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert heard.reports == [1]
    assert heard.errors == [error]
    assert heard.outcomes == [Outcome.FAILED]
    (shown,) = notified
    assert shown.severity is NotificationSeverity.ERROR
    assert str(error.args[0]) in shown.message


def test_an_unexpected_error_is_shown_with_its_traceback_and_ours_without(
    job: Job, qtbot: QtBot, notified: list
) -> None:
    for error in (RuntimeError("broken"), InputError("choose another image")):

        def work(error: Exception = error) -> Iterator[int]:
            raise error
            yield

        heard = Heard(job)
        job.start(work)
        qtbot.waitUntil(lambda heard=heard: bool(heard.outcomes), timeout=30_000)
    unexpected, ours = notified
    assert unexpected.exception is not None
    assert getattr(ours, "exception", None) is None


def test_an_iterator_that_cannot_be_made_is_an_error_too(job: Job, qtbot: QtBot, notified: list) -> None:
    def work() -> Iterator[int]:
        raise RuntimeError("no such device")

    heard = Heard(job)
    job.start(work)
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert [str(error) for error in heard.errors] == ["no such device"]
    assert len(list(notified)) == 1


def test_stop_closes_the_generator_in_the_thread_it_ran_in(job: Job, qtbot: QtBot) -> None:
    heard, counter = Heard(job), Counter()
    job.start(counter)
    qtbot.waitUntil(lambda: len(heard.reports) > 3, timeout=30_000)
    job.stop()
    assert job.is_stopping
    said = len(heard.reports)
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert heard.outcomes == [Outcome.STOPPED]
    assert len(heard.reports) == said
    assert counter.closed_in not in (None, threading.main_thread())


def test_an_error_while_closing_reaches_the_user(job: Job, qtbot: QtBot, notified: list) -> None:
    def work() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise RuntimeError("the disk is full")

    heard = Heard(job)
    job.start(work)
    qtbot.waitUntil(lambda: bool(heard.reports), timeout=30_000)
    job.stop()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert [str(error) for error in heard.errors] == ["the disk is full"]


def test_a_job_stopped_at_once_does_nothing(job: Job, qtbot: QtBot) -> None:
    heard, counter = Heard(job), Counter()
    job.start(counter)
    job.stop()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert heard.outcomes == [Outcome.STOPPED]
    assert heard.reports == []


def test_the_work_does_not_run_ahead_of_the_viewer(job: Job, qtbot: QtBot) -> None:
    counter = Counter()
    job.start(counter)
    qtbot.wait(20)
    # The main thread is busy: reports are not taken.
    before = counter.count
    time.sleep(0.3)
    assert counter.count <= before + REPORTS_AHEAD + 1
    heard = Heard(job)
    job.stop()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)


def test_a_destroyed_job_stops_its_work(qtbot: QtBot) -> None:
    owner, counter = QObject(), Counter()
    heard = Heard(job := Job(parent=owner))
    job.start(counter)
    qtbot.waitUntil(lambda: bool(heard.reports), timeout=30_000)
    owner.deleteLater()
    qtbot.waitUntil(lambda: counter.closed_in is not None, timeout=30_000)
    assert counter.closed_in is not threading.main_thread()
    assert heard.outcomes == []


def test_a_second_start_is_refused(job: Job, qtbot: QtBot) -> None:
    heard = Heard(job)
    job.start(Counter())
    with pytest.raises(RuntimeError):
        job.start(Counter())
    job.stop()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)


def test_many_reports_all_arrive_and_leave_the_main_thread_time(job: Job, qtbot: QtBot) -> None:
    heard, turns = Heard(job), []
    last = [0.0]

    def on_report(_: object) -> None:
        now = time.monotonic()
        if now - last[0] > REPORT_PAUSE_MS / 2000:
            turns.append(0.0)
        time.sleep(0.001)
        last[0] = time.monotonic()
        turns[-1] += last[0] - now

    job.reported.connect(on_report)
    job.start(lambda: iter(range(200)))
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=180_000)
    assert heard.reports == list(range(200))
    assert len(turns) > 5
    assert sorted(turns)[len(turns) // 2] < 3 * TURN_MS / 1000


def test_the_first_report_does_not_wait(job: Job, qtbot: QtBot) -> None:
    heard, go_on = Heard(job), threading.Event()

    def work() -> Iterator[int]:
        yield 1
        go_on.wait(10)

    job.start(work)
    qtbot.waitUntil(lambda: heard.reports == [1], timeout=30_000)
    assert heard.outcomes == []
    go_on.set()
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)


def test_an_error_is_told_after_all_reports_before_it(job: Job, qtbot: QtBot, notified: list) -> None:
    said: list[object] = []
    job.reported.connect(said.append)
    job.reported.connect(lambda _: time.sleep(0.002))
    job.failed.connect(said.append)
    job.finished.connect(said.append)

    def work() -> Iterator[int]:
        yield from range(25)
        raise RuntimeError("broken")

    job.start(work)
    qtbot.waitUntil(lambda: not job.is_running, timeout=30_000)
    assert said[:25] == list(range(25))
    assert [str(said[25]), said[26]] == ["broken", Outcome.FAILED]


@pytest.mark.skipif(sys.platform != "linux", reason="only there every thread has a priority that it hands down")
def test_the_work_and_what_it_starts_yield_to_the_viewer_and_nobody_else_does(job: Job, qtbot: QtBot) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def work() -> Iterator[int]:
        found: list[int] = []
        helper = threading.Thread(target=lambda: found.append(niceness()))
        helper.start()
        helper.join()
        yield from (niceness(), found[0])

    for _ in range(2):
        heard = Heard(job)
        job.start(work)
        qtbot.waitUntil(lambda heard=heard: bool(heard.outcomes), timeout=30_000)
        assert heard.reports == [max(mine, NICENESS)] * 2
    assert niceness() == mine


def test_jobs_do_not_wait_for_one_another(owner: QObject, qtbot: QtBot) -> None:
    jobs, go_on = [Job(parent=owner) for _ in range(12)], threading.Event()
    heard = [Heard(job) for job in jobs]

    def work() -> Iterator[int]:
        yield 1
        go_on.wait(10)

    for job in jobs:
        job.start(work)
    qtbot.waitUntil(lambda: all(each.reports for each in heard), timeout=30_000)
    go_on.set()
    qtbot.waitUntil(lambda: all(each.outcomes for each in heard), timeout=30_000)


def test_only_the_newest_request_is_run(owner: QObject, qtbot: QtBot) -> None:
    latest = LatestJob(parent=owner, delay_ms=10)
    reports: list[int] = []
    latest.reported.connect(reports.append)
    for number in range(20):
        latest.request(lambda number=number: iter([number]))
    qtbot.waitUntil(lambda: not latest.is_running, timeout=30_000)
    assert reports == [19]


def test_an_outdated_request_under_way_is_stopped(owner: QObject, qtbot: QtBot) -> None:
    latest = LatestJob(parent=owner, delay_ms=1)
    reports: list[object] = []
    latest.reported.connect(reports.append)
    latest.request(counter := Counter())
    qtbot.waitUntil(lambda: bool(reports), timeout=30_000)
    latest.request(lambda: iter(["new"]))
    qtbot.waitUntil(lambda: not latest.is_running, timeout=30_000)
    assert reports[-1] == "new"
    assert counter.closed_in is not None


def test_closing_a_dock_or_its_window_is_noticed_and_hiding_it_is_not(qtbot: QtBot) -> None:
    closed: list[str] = []
    for way in ("dock", "window"):
        window, dock, widget = QMainWindow(), QDockWidget(), QWidget()
        dock.setWidget(widget)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
        CloseGuard(widget).closed.connect(lambda way=way: closed.append(way))
        window.show()
        qtbot.waitExposed(window)
        dock.hide()
        dock.show()
        dock.setFloating(True)
        dock.setFloating(False)
        QApplication.processEvents()
        assert way not in closed
        if way == "dock":
            widget.setParent(None)
        else:
            window.close()
        assert closed[-1] == way
        window.deleteLater()
        QApplication.processEvents()
