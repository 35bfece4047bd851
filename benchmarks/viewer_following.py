"""Measure whether the viewer stays fluid while a live image is followed, and how far behind the restored frames are.

    python benchmarks/viewer_following.py [MODEL] [WIDTH] [FRAMES A SECOND]
    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/viewer_following.py fft-lite 512 30

Opens a real viewer with a layer whose data are replaced, as the previews of napari-micromanager are, and follows it in
the Restore widget. A timer that should fire every 10 ms notes how late it is: first while the layer is only replaced,
then while it is followed. Delays count from the moment the layer gets a frame until it is restored. What the viewer's
own thread computes for each frame that comes hardly depends on what else the machine does. Prints one JSON object.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from driven_viewer import SECONDS, Lateness, open_viewer, open_widget, pause, wait
from qtpy.QtCore import Qt, QTimer

from napari_care_losses.simulation.camera import SimulatedCamera

DIFFERENT = 12
"""Frames that are shown in turn."""


def measure(model: str, width: int, rate: float) -> dict[str, Any]:
    """Follow a live image of frames of some width, so many a second."""
    camera = SimulatedCamera("actin", (width, width), seed=7)
    frames = [camera.record(2.0) for _ in range(DIFFERENT)]
    viewer = open_viewer()
    layer = viewer.add_image(frames[0], name="preview")
    restore = open_widget(viewer, "Restore")
    restore.live.value = False
    restore.model.choose(model)
    following, given = restore.follow, itertools.count(1)
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setInterval(round(1000 / rate))
    timer.timeout.connect(lambda: setattr(layer, "data", frames[next(given) % DIFFERENT].copy()))
    pause(3)
    late = Lateness()
    timer.start()
    pause(1)
    shown, worked = next(given), time.thread_time()
    with late.noted("replaced"):
        pause(5)
    before = (time.thread_time() - worked) / (next(given) - shown)
    timer.stop()
    pause(1)
    reports: list[Any] = []
    following._job.reported.connect(lambda report: reports.append(report.progress))
    following.run_bar.start_button.click()
    with late.noted("following_start"):
        wait(lambda: bool(reports) and reports[-1].restored > 0)
        pause(1)
    timer.start()
    pause(2)
    reports.clear()
    begun, worked = next(given), time.thread_time()
    with late.noted("following"):
        pause(SECONDS)
    came = next(given) - begun
    meanwhile = (time.thread_time() - worked) / came
    progress = [report for report in reports if report.delay is not None]
    timer.stop()
    delays = [report.delay for report in progress] or [float("nan")]
    found = {
        "model": model,
        "width": width,
        "frames_per_s_given": round(came / SECONDS, 1),
        "frames_per_s_restored": round(len(progress) / SECONDS, 1),
        "delay_ms_median": round(1000 * float(np.median(delays)), 1),
        "delay_ms_p95": round(1000 * float(np.percentile(delays, 95)), 1),
        "viewer_ms_per_frame_replaced": round(1000 * before, 1),
        "viewer_ms_per_frame_following": round(1000 * meanwhile, 1),
        "estimated": following.psnr.text(),
    }
    following.run_bar.stop_button.click()
    wait(lambda: not following.is_running)
    viewer.close()
    return found | late.summary()


def main(model: str = "fft-lite", width: str = "512", rate: str = "30") -> None:
    """Measure with an empty library and napari's own settings."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_CARE_LOSSES_LIBRARY"] = str(Path(folder) / "library")
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "settings.yaml")
        print(json.dumps(measure(model, int(width), float(rate))))


if __name__ == "__main__":
    main(*sys.argv[1:])
