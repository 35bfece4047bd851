"""Work in the viewer's widgets cancelled at any moment: idle within 2 s, and nothing leaks."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from counts import QUICK, images, say, scaled, size_of_images
from killing import _model
from napari.components import ViewerModel
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_care_losses.models.user_folder import FOLDER_VARIABLE
from napari_care_losses.widgets.background.threads import thread_pool
from napari_care_losses.widgets.compare.widget import CompareWidget
from napari_care_losses.widgets.layers.restored_layers import is_result
from napari_care_losses.widgets.restore.widget import RestoreWidget
from napari_care_losses.widgets.train.widget import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = 200
LONGEST_RUN, LONGEST_STOP = 1.0, 2.0
"""Seconds after which work is cancelled at the latest, and within which it must have ended then."""

OTHERS = ("ThreadPoolExecutor", "zarr_io")
"""Names of the threads that napari and zarr keep."""

FRAMES = 1000
"""More than anything gets through."""

LARGEST_GROWTH = 0.05
FEWEST = 40
"""Times below which the first tenth is too little to compare with."""


class Bench:
    """The three widgets on a viewer without a window."""

    def __init__(self, library: Path, application: QApplication, size: int) -> None:
        self.library, self.application = library, application
        _model(seed=1).save(library / "model.safetensors")
        low, high = images(3, size)
        self.viewer = ViewerModel()
        self.pair = self.viewer.add_image(low, name="low"), self.viewer.add_image(high, name="high")
        long = (np.broadcast_to(image[:1], (FRAMES, *image.shape[1:])) for image in (low, high))
        self.stack, self.truth = (
            self.viewer.add_image(image, name=name) for image, name in zip(long, ("stack", "truth"), strict=True)
        )
        self.restore, self.train, self.compare = (
            make(self.viewer) for make in (RestoreWidget, TrainWidget, CompareWidget)
        )
        self.restore.live.value = False
        self.restore.image.value = self.stack
        self.train.pairs.rows[0].choose(*self.pair)
        self.train.form.set_values({**QUICK, "budget": "steps", "amount": 1e6, "steps_per_epoch": 20})
        self.compare.settings.image.value = self.stack
        self.compare.settings.truth.value = self.truth
        self.compare.settings.methods.tick(["tv", "model"])
        self.wait(self.is_idle, 60)

    def begin(self, kind: str) -> None:
        """Begin a kind of work."""
        if kind == "previewing":
            self.viewer.dims.set_current_step(0, random.randrange(FRAMES))
            self.restore.live.value = True
            return
        bar = self.widget(kind).run_bar
        assert bar.start_button.isEnabled(), f"{kind}: {bar.reason.text()}"
        bar.start_button.click()

    def cancel(self, kind: str) -> None:
        """Cancel it as a user does."""
        if kind == "previewing":
            self.restore.live.value = False
        else:
            self.widget(kind).run_bar.stop_button.click()

    def widget(self, kind: str) -> Any:
        return {"restoring": self.restore, "training": self.train, "comparing": self.compare}[kind]

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        is_working = self.restore.is_running or self.restore.preview.is_running or self.train.is_running
        is_looking = self.train.pairs.is_checking or self.compare.is_busy
        return not (is_working or is_looking) and thread_pool().activeThreadCount() == 0

    def clear(self) -> None:
        """Remove what the work has made."""
        # only a loop of events that runs does so by itself
        self.application.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        for layer in [layer for layer in self.viewer.layers if is_result(layer)]:
            self.viewer.layers.remove(layer)
        for entry in list(self.train.queue.entries):
            self.train.queue.discard(entry)
        left = [path.name for path in self.library.iterdir() if path.name != "model.safetensors"]
        assert not left, f"left in the library: {left}"

    def wait(self, is_so: Callable[[], bool], seconds: float) -> float:
        """Let the application work until something is so; return how long it took."""
        begun = time.monotonic()
        while not is_so():
            assert time.monotonic() - begun < seconds, f"not idle after {seconds} s"
            self.application.processEvents()
            time.sleep(0.002)
        return time.monotonic() - begun

    def pause(self, seconds: float) -> None:
        """Let the application work for some time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.application.processEvents()
            time.sleep(0.002)

    def close(self) -> None:
        """Close the widgets."""
        for widget in (self.restore, self.train, self.compare):
            widget.close()
            widget.deleteLater()
        self.application.processEvents()


def run(scale: float) -> dict[str, float]:
    """Cancel every kind of work again and again."""
    application = QApplication.instance() or QApplication([])
    before = os.environ.get(FOLDER_VARIABLE)
    with TemporaryDirectory() as name:
        os.environ[FOLDER_VARIABLE] = name
        try:
            bench = Bench(Path(name), application, size_of_images(scale))
            try:
                return _cancel(bench, scaled(TIMES, scale), LONGEST_STOP if scale >= 0.1 else 10 * LONGEST_STOP)
            finally:
                bench.close()
        finally:
            if before is None:
                del os.environ[FOLDER_VARIABLE]
            else:
                os.environ[FOLDER_VARIABLE] = before


def _cancel(bench: Bench, times: int, patience: float) -> dict[str, float]:
    moments, slowest = random.Random(0), 0.0
    counts: dict[str, float] = dict.fromkeys(("training", "restoring", "previewing", "comparing"), 0)
    first = _held()
    for number in range(times):
        kind = list(counts)[number % len(counts)]
        bench.begin(kind)
        bench.pause(moments.uniform(0, LONGEST_RUN))
        bench.cancel(kind)
        try:
            slowest = max(slowest, bench.wait(bench.is_idle, patience))
        except AssertionError as error:
            raise AssertionError(f"{kind}, time {number}: {error}") from error
        bench.clear()
        counts[kind] += 1
        if number + 1 == max(times // 10, 4):
            first = _held()
        if number % 20 == 19:
            say(f"cancel: {number + 1}, the slowest idle after {slowest:.2f} s")
    last = _held()
    threads, files = (last[place] - first[place] for place in (0, 1))
    growth = last[2] / first[2] - 1
    if times >= FEWEST:
        assert threads <= 0 and files <= 0, f"{threads} threads and {files} files have leaked"
        assert growth < LARGEST_GROWTH, f"the memory grew by {growth:.1%}"
    return {
        "cancelled": times,
        **{f"cancelled_{kind}": count for kind, count in counts.items()},
        "slowest_idle_s": round(slowest, 2),
        "leaked_threads": max(threads, 0),
        "leaked_files": max(files, 0),
        "growth_cancelling": round(growth, 4),
    }


def _held() -> tuple[int, int, int]:
    """Return the numbers of threads and of open files, and the bytes of memory."""
    gc.collect()
    alive = [
        one
        for one in threading.enumerate()
        if not isinstance(one, threading._DummyThread) and not one.name.startswith(OTHERS)
    ]
    process = psutil.Process()
    return len(alive), process.num_fds(), process.memory_info().rss
