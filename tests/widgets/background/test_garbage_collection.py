from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
from fixtures.viewer_work import Counter, Heard
from qtpy.QtCore import QObject

from napari_care_losses.errors import InputError
from napari_care_losses.widgets.background import garbage_collection as garbage
from napari_care_losses.widgets.background.garbage_collection import GarbageGuard
from napari_care_losses.widgets.background.threads import garbage_guard, thread_pool
from napari_care_losses.widgets.background.worker import Job, LatestJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot


class Cycle:
    """A reference cycle that notes the thread it is collected in."""

    def __init__(self, collected_in: list[threading.Thread]) -> None:
        self.itself = self
        weakref.finalize(self, lambda: collected_in.append(threading.current_thread()))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "HOLD_MS", 50)
    gc.collect()
    yield
    assert gc.get_freeze_count() == 0, "objects stay out of garbage collection"


@pytest.fixture
def guard() -> GarbageGuard:
    """Return the guard that all jobs share."""
    return garbage_guard(thread_pool())


def wait_until_let_go(guard: GarbageGuard, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not guard.is_holding, timeout=30_000)
    assert gc.get_freeze_count() == 0


def collect_in_the_thread() -> Iterator[int]:
    yield gc.collect()


def test_existing_objects_are_not_collected_in_a_working_thread(job: Job, guard: GarbageGuard, qtbot: QtBot) -> None:
    collected_in: list[threading.Thread] = []
    Cycle(collected_in)
    heard = Heard(job)
    job.start(collect_in_the_thread)
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=30_000)
    assert collected_in == []
    wait_until_let_go(guard, qtbot)
    gc.collect()
    assert collected_in == [threading.main_thread()]


def test_objects_made_meanwhile_are_collected_as_usual(guard: GarbageGuard, job: Job, qtbot: QtBot) -> None:
    collected_in: list[threading.Thread] = []
    job.start(Counter())
    assert guard.is_holding
    assert gc.get_freeze_count() > 10_000
    Cycle(collected_in)
    # another job: objects made since the first one began are still collected
    LatestJob(parent=job, delay_ms=0).request(lambda: iter([1]))
    qtbot.wait(20)
    gc.collect()
    assert collected_in == [threading.main_thread()]
    job.stop()
    wait_until_let_go(guard, qtbot)


def test_it_holds_until_the_last_job_has_ended(owner: QObject, guard: GarbageGuard, qtbot: QtBot) -> None:
    long, short = Job(parent=owner), Job(parent=owner)
    long.start(Counter())
    short.start(Counter())
    short.stop()
    qtbot.waitUntil(lambda: not short.is_running, timeout=30_000)
    qtbot.wait(5 * garbage.HOLD_MS)
    assert guard.is_holding
    long.stop()
    wait_until_let_go(guard, qtbot)


def test_it_lets_go_after_work_that_failed_or_whose_owner_has_gone(guard: GarbageGuard, qtbot: QtBot, notified) -> None:
    def fail() -> Iterator[int]:
        yield 1
        raise InputError("choose another image")

    for work in (fail, Counter()):
        owner = QObject()
        job = Job(parent=owner)
        job.start(work)
        assert guard.is_holding
        owner.deleteLater() if work is not fail else None
        wait_until_let_go(guard, qtbot)


def test_short_jobs_one_after_the_other_are_one_piece_of_work(
    owner: QObject, guard: GarbageGuard, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[int] = []
    freeze = gc.freeze
    monkeypatch.setattr(gc, "freeze", lambda: [freeze(), times.append(1)])
    job = Job(parent=owner)
    # longer than all of them take
    monkeypatch.setattr(garbage, "HOLD_MS", 600_000)
    for _ in range(5):
        job.start(lambda: iter([1]))
        qtbot.waitUntil(lambda: not job.is_running, timeout=30_000)
        qtbot.wait(10)
    monkeypatch.setattr(garbage, "HOLD_MS", 50)
    guard.hold()
    wait_until_let_go(guard, qtbot)
    assert len(times) == 1


def test_a_guard_without_work_lets_go_at_once_when_told() -> None:
    parent = QObject()
    guard = GarbageGuard(lambda: False, parent=parent)
    guard.hold()
    guard.let_go()
    assert not guard.is_holding
    guard.let_go()
