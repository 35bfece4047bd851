"""Measure how soon the plugin shows something: from the click on a widget to the first restored pixels, and the help.

    python benchmarks/first_second.py [preview] [restore] [widgets] [help]
    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/first_second.py

Every measurement is made in a fresh process, that of the first pixels in two ways by turns: as it is, and with torch
loaded before (`torch`), as where it runs the network. Of each the median over the processes is printed: seconds on the
clock, seconds of CPU of the whole process (`_cpu_s`), how many times longer it takes with torch, and how long once the
widget has been opened before in the session (`_again_s`). `preview` is the click on the menu's Restore up to the first
pixels of the live preview; `restore` the click on the button Restore, without a preview before, up to the first frame.
The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

PLUGIN = "napari-care-losses"
REPEATS = 3
PATIENCE = 300.0
MODEL = "fft-lite"
MARK = "NAPARI_CARE_LOSSES_BENCHMARK"


def open_viewer() -> Any:
    """Return a viewer with a noisy stack of five frames of 512 x 512 px, at rest."""
    import napari
    import npe2

    import napari_care_losses

    manager = npe2.PluginManager.instance()
    if PLUGIN not in manager:
        manager.register(npe2.PluginManifest.from_file(Path(napari_care_losses.__file__).with_name("napari.yaml")))
    viewer = napari.Viewer(show=False)
    viewer.show()
    viewer.window.resize(1366, 768)
    rng = np.random.default_rng(0)
    light = rng.gamma(0.5, 40, (5, 64, 64)).repeat(8, axis=1).repeat(8, axis=2)
    viewer.add_image(rng.poisson(light + 20).astype(np.uint16), name="noisy")
    rest(1.0)
    return viewer


def rest(seconds: float) -> None:
    """Let the viewer handle its events for a while."""
    end = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > end)


def wait(is_done: Callable[[], bool]) -> None:
    """Let the viewer handle its events until something is done."""
    from napari.qt import get_qapp

    application, end = get_qapp(), time.perf_counter() + PATIENCE
    while not is_done():
        if time.perf_counter() > end:
            raise TimeoutError("what was waited for did not happen")
        application.processEvents()
        time.sleep(0.001)


def open_widget(viewer: Any, name: str) -> Any:
    """Return a widget of the plugin in its dock."""
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def load_torch_first() -> None:
    """Let previews and restorations load torch before, as where it runs the network."""
    from napari_care_losses.widgets.background.imports import all_libraries
    from napari_care_losses.widgets.restore import run
    from napari_care_losses.widgets.restore.preview import live_preview

    for module in (run, live_preview):
        module.libraries = lambda *_: all_libraries()


class Clock:
    """Seconds on the clock and seconds of CPU since it was made."""

    def __init__(self) -> None:
        self._begun, self._used = time.perf_counter(), time.process_time()

    def taken(self, name: str) -> dict[str, float]:
        """Return both, by name."""
        return {f"{name}_s": time.perf_counter() - self._begun, f"{name}_cpu_s": time.process_time() - self._used}


def measure_preview(way: str) -> dict[str, float]:
    """Open Restore over an image, and wait for the first pixels of the preview."""
    viewer, found = open_viewer(), {}
    if way == "torch":
        load_torch_first()
    for name in ("preview", "preview_again"):
        painted: list[float] = []
        clock = Clock()
        widget = open_widget(viewer, "Restore")
        widget.model.choose(MODEL)
        widget.preview.painted.connect(painted.append)
        wait(lambda painted=painted: bool(painted))
        found |= clock.taken(name)
        wait(lambda widget=widget: not widget.preview.is_running)
        viewer.window.remove_dock_widget("all")
        rest(0.5)
    found["preview_torch_loaded"] = float("torch" in sys.modules)
    viewer.close()
    return found


def measure_restore(way: str) -> dict[str, float]:
    """Press Restore in the widget, without its preview, and wait for the first frame."""
    viewer = open_viewer()
    if way == "torch":
        load_torch_first()
    widget = open_widget(viewer, "Restore")
    widget.live.value = False
    widget.ranking.stop()
    widget.model.choose(MODEL)
    wait(lambda: not widget.preview.is_running)
    shown: list[int] = []
    widget.frame_restored.connect(shown.append)
    clock = Clock()
    widget.run_bar.start_button.click()
    wait(lambda: bool(shown))
    found = clock.taken("restore")
    wait(lambda: not widget.is_running)
    found["restore_torch_loaded"] = float("torch" in sys.modules)
    viewer.close()
    return found


def measure_widget(name: str) -> dict[str, float]:
    """Open a widget over an image, until it is drawn."""
    viewer = open_viewer()
    clock = Clock()
    widget = open_widget(viewer, name)
    wait(widget.isVisible)
    from napari.qt import get_qapp

    get_qapp().processEvents()
    found = clock.taken(f"open_{name.lower()}")
    if name == "Restore":
        widget.live.value = False
    viewer.close()
    return found


def measure_help() -> dict[str, float]:
    """Print the help of the command."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    clock = Clock()
    code = "from napari_care_losses.cli.main import main; main(['--help'])"
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    found = clock.taken("help")
    return {**found, "help_cpu_s": resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before}


def in_a_process(part: str, way: str) -> dict[str, float]:
    """Return what a fresh process measures, with a library and settings of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            MARK: "part",
            "NAPARI_CARE_LOSSES_LIBRARY": str(Path(folder) / "library"),
            "NAPARI_CONFIG": str(Path(folder) / "settings.yaml"),
        }
        done = subprocess.run(
            [sys.executable, __file__, part, way],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


PARTS: dict[str, tuple[Callable[[str], dict[str, float]], tuple[str, ...]]] = {
    "preview": (measure_preview, ("plain", "torch")),
    "restore": (measure_restore, ("plain", "torch")),
    "widgets": (measure_widget, ("Restore", "Train", "Compare")),
    "help": (lambda _: measure_help(), ("plain",)),
}


def main(*parts: str) -> None:
    """Measure the parts named, or all of them."""
    if os.environ.get(MARK) == "part":
        print(json.dumps(PARTS[parts[0]][0](parts[1])))
        return
    found: dict[str, float] = {}
    for part in parts or tuple(PARTS):
        _, ways = PARTS[part]
        measured: dict[str, list[float]] = {}
        for _ in range(REPEATS):
            for way in ways:
                for name, value in in_a_process(part, way).items():
                    measured.setdefault(f"{name}_torch" if way == "torch" else name, []).append(value)
        medians = {name: round(float(np.median(values)), 3) for name, values in measured.items()}
        for name in [name for name in medians if f"{name}_torch" in medians and name.endswith("_s")]:
            medians[f"{name}_times_longer_with_torch"] = round(medians[f"{name}_torch"] / medians[name], 2)
        print(part, json.dumps(medians), flush=True)
        found |= medians
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
