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
    """Garbage that only a search finds, and that notes the thread it is found in."""

    def __init__(self, found_in: list[threading.Thread]) -> None:
        self.itself = self
        weakref.finalize(self, lambda: found_in.append(threading.current_thread()))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "REST_MS", 50)
    gc.collect()
    yield
    assert gc.get_freeze_count() == 0, "objects stay out of the search for garbage"


@pytest.fixture
def guard() -> GarbageGuard:
    """Return the guard of all jobs."""
    return garbage_guard(thread_pool())


def wait_until_let_go(guard: GarbageGuard, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not guard.is_holding, timeout=5000)
    assert gc.get_freeze_count() == 0


def search_in_the_thread() -> Iterator[int]:
    yield gc.collect()


def test_what_there_was_is_not_found_in_a_working_thread(job: Job, guard: GarbageGuard, qtbot: QtBot) -> None:
    found_in: list[threading.Thread] = []
    Cycle(found_in)
    heard = Heard(job)
    job.start(search_in_the_thread)
    qtbot.waitUntil(lambda: bool(heard.outcomes), timeout=5000)
    assert found_in == []
    wait_until_let_go(guard, qtbot)
    gc.collect()
    assert found_in == [threading.main_thread()]


def test_what_is_made_meanwhile_is_found_as_ever(guard: GarbageGuard, job: Job, qtbot: QtBot) -> None:
    found_in: list[threading.Thread] = []
    job.start(Counter())
    assert guard.is_holding
    assert gc.get_freeze_count() > 10_000
    Cycle(found_in)
    # another job: what has come since the first one began stays in the search
    LatestJob(parent=job, delay_ms=0).request(lambda: iter([1]))
    qtbot.wait(20)
    gc.collect()
    assert found_in == [threading.main_thread()]
    job.stop()
    wait_until_let_go(guard, qtbot)


def test_it_holds_until_the_last_job_has_ended(owner: QObject, guard: GarbageGuard, qtbot: QtBot) -> None:
    long, short = Job(parent=owner), Job(parent=owner)
    long.start(Counter())
    short.start(Counter())
    short.stop()
    qtbot.waitUntil(lambda: not short.is_running, timeout=5000)
    qtbot.wait(5 * garbage.REST_MS)
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
    for _ in range(5):
        job.start(lambda: iter([1]))
        qtbot.waitUntil(lambda: not job.is_running, timeout=5000)
        qtbot.wait(garbage.REST_MS // 5)
    wait_until_let_go(guard, qtbot)
    assert len(times) == 1


def test_a_guard_without_work_lets_go_at_once_when_told() -> None:
    parent = QObject()
    guard = GarbageGuard(lambda: False, parent=parent)
    guard.hold()
    guard.let_go()
    assert not guard.is_holding
    guard.let_go()
