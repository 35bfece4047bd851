"""Measure whether the viewer stays fluid while work runs, and how soon it shows what was asked for.

    python benchmarks/viewer.py [training] [restoring] [preview] [scores] [pairs] [restoring_all_cores] [delay]
    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/viewer.py

"delay" stands for training, restoring and restoring_all_cores, less than four minutes: how much later the viewer
answers than without work. "restoring_all_cores" restores as if nobody ever used the viewer.

Opens a real viewer with the plugin's widgets on its samples, every part in a fresh process. While the slider moves, a
timer that should fire every 10 ms notes how late it is: a click would have waited as long. The values of "training" and
"restoring" cover everything from the opened widget to the last frame; the loading of torch is also measured alone, as
"start". Without work, it is measured before ("idle"), and after with the layers and widgets that are there then
("idle_after"); "ratio" is the 99th percentile over that of either. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from driven_viewer import (
    FRAMES,
    MOVES,
    PAIRS,
    SECONDS,
    WIDTH,
    Lateness,
    add_care_model,
    larger_sample,
    open_viewer,
    open_widget,
    pause,
    slider_moving,
    wait,
)


def measure_training() -> dict[str, float]:
    """Train both networks, lite first."""
    viewer = open_viewer()
    low, truth = larger_sample(viewer, 512, 9)
    train = open_widget(viewer, "Train")
    train.pairs.rows[0].choose(low, truth)
    speeds = {}
    with slider_moving(viewer) as late:
        for number, preset in enumerate(("lite", "care")):
            train.form.set_values({"preset": preset, "amount": 10.0, "steps_per_epoch": 50})
            begun = time.perf_counter()
            with late.noted("training", *(["training_start"] if number == 0 else [])):
                train.run_bar.start_button.click()
                wait(lambda: train.run_bar.progress.value() > 0)
            speeds[f"first_step_s_{preset}"] = round(time.perf_counter() - begun, 2)
            with late.noted("training", f"training_{preset}"):
                pause(SECONDS)
                status = re.search(r"([\d.,]+) steps a second", train.run_bar.status.text())
                assert status is not None, train.run_bar.status.text()
                speeds[f"steps_per_s_{preset}"] = float(status[1])
                train.run_bar.stop_button.click()
                wait(lambda: not train.is_running)
    viewer.close()
    return late.summary() | speeds


def measure_restoring_all_cores() -> dict[str, float]:
    """Restore as if nobody ever used the viewer: on all cores, with the scores of all frames beside it."""
    from napari_care_losses.widgets.background.attention import Attention

    Attention.is_given = False
    found = measure_restoring()
    return {name.replace("restoring", "restoring_all_cores"): value for name, value in found.items()}


def measure_restoring() -> dict[str, float]:
    """Restore a stack with a model of either size, lite first."""
    care = add_care_model()
    viewer = open_viewer()
    low, _ = larger_sample(viewer, WIDTH, FRAMES)
    speeds = {}
    with slider_moving(viewer) as late:
        restore = open_widget(viewer, "Restore")
        pause(0.1)
        restore.image.value = low
        for number, name in enumerate(("bandpass-lite", care)):
            kind = name.rsplit("-", 1)[1]
            begun = time.perf_counter()
            with late.noted("restoring", *(["restoring_start"] if number == 0 else [])):
                restore.model.choose(name)
                restore.run_bar.start_button.click()
                wait(lambda: restore.run_bar.progress.value() > 0)
            speeds[f"first_tile_s_{kind}"] = round(time.perf_counter() - begun, 2)
            begun = time.perf_counter()
            with late.noted("restoring", f"restoring_{kind}"):
                wait(lambda: not restore.is_running, SECONDS, must_end=False)
                done = max(1, round(restore.run_bar.progress.value() / 1000 * FRAMES))
                speeds[f"s_per_frame_{kind}"] = round((time.perf_counter() - begun) / done, 3)
                if restore.is_running:
                    restore.run_bar.stop_button.click()
                wait(lambda: not restore.is_running)
        # what else would work on: previews of frames that are left, scores of those that are done
        restore.live.value = False
        restore.scores.stop()
        wait(lambda: not restore.preview.is_running)
    viewer.close()
    return late.summary() | speeds


def measure_preview() -> dict[str, float]:
    """Move the slider with the live preview on, and wait for the first restored pixels."""
    care = add_care_model()
    viewer = open_viewer()
    low, _ = larger_sample(viewer, WIDTH, 2 * MOVES + 2)
    pause(2)
    painted: list[float] = []
    late = Lateness()
    begun = time.perf_counter()
    restore = open_widget(viewer, "Restore")
    restore.preview.painted.connect(lambda _: painted.append(time.perf_counter()))
    restore.image.value = low
    restore.model.choose("bandpass-lite")
    with late.noted("preview"):
        wait(lambda: bool(painted))
        found = {"first_preview_s_cold": round(painted[-1] - begun, 3)}
        for first, name in ((1, "bandpass-lite"), (1 + MOVES, care)):
            restore.model.choose(name)
            wait(lambda: not restore.preview.is_running)
            seconds = []
            for frame in range(first, first + MOVES):
                count, begun = len(painted), time.perf_counter()
                viewer.dims.set_current_step(0, frame)
                wait(lambda count=count: len(painted) > count)
                seconds.append(painted[count] - begun)
                wait(lambda: not restore.preview.is_running)
                pause(0.2)
            kind = name.rsplit("-", 1)[1]
            found[f"first_preview_s_{kind}"] = round(float(np.median(seconds)), 3)
            found[f"first_preview_max_s_{kind}"] = round(max(seconds), 3)
    viewer.close()
    return found | late.summary()


def measure_scores() -> dict[str, float]:
    """Move the slider over restored frames that have not been scored yet."""
    found = {}
    for width, frames in ((512, 24), (2048, 12)):
        viewer = open_viewer()
        low, truth = larger_sample(viewer, width, frames)
        restore = open_widget(viewer, "Restore")
        restore.image.value = low
        restore.model.choose("bandpass-lite")
        restore.scores.truth.value = truth
        restore.run_bar.start_button.click()
        wait(lambda restore=restore: not restore.is_running and not restore.scores.is_busy)
        scored: list[float] = []
        restore.scores.scored.connect(lambda scored=scored: scored.append(time.perf_counter()))
        about: list[float] = []
        restore.scores.approximated.connect(lambda about=about: about.append(time.perf_counter()))
        seconds: list[float] = []
        first_seconds: list[float] = []
        while len(seconds) < MOVES:
            # Data set anew: every frame is scored again, the shown one first, the others in between.
            count = len(scored)
            truth.data = truth.data.copy()
            wait(lambda scored=scored, count=count: len(scored) > count)
            shown = viewer.dims.current_step[0]
            count, begun = len(scored), time.perf_counter()
            about.clear()
            viewer.dims.set_current_step(0, (shown + frames // 2) % frames)
            is_new = len(scored) == count
            wait(lambda scored=scored, count=count: len(scored) > count)
            if is_new:
                seconds.append(scored[count] - begun)
                first_seconds.append(min([*about, scored[count]]) - begun)
            wait(lambda restore=restore: not restore.scores.is_busy)
        found[f"score_{width}_s"] = round(float(np.median(seconds)), 3)
        found[f"score_{width}_max_s"] = round(max(seconds), 3)
        found[f"first_score_{width}_s"] = round(float(np.median(first_seconds)), 3)
        viewer.close()
        pause(0.5)
    return found


def measure_pairs() -> dict[str, float]:
    """List 25 pairs in Train, every fifth a movie: as layers, chosen by hand, as files; and remove rows and layers."""
    # the other parts measure how long they load
    from napari_care_losses.images.frames import Frames
    from napari_care_losses.io.stacks import save_stack
    from napari_care_losses.training.pair_sources import PairSource

    viewer, rng = open_viewer(), np.random.default_rng(0)
    layers, sources, found = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PAIRS):
            high = rng.integers(100, 1000, (8 if number % 5 == 4 else 1, 512, 512)).astype(np.uint16)
            pair = [high // 4 + rng.integers(0, 50, high.shape).astype(np.uint16), high]
            paths = [Path(folder) / f"{number}_{which}.tif" for which in ("low", "high")]
            for path, stack in zip(paths, pair, strict=True):
                save_stack(path, Frames(stack, "TYX"))
                layers.append(viewer.add_image(stack, name=path.stem))
            sources.append(PairSource(str(number), *paths))
        table = [open_widget(viewer, name) for name in ("Restore", "Compare", "Train")][-1].pairs

        def by_hand() -> None:
            for low, high in zip(layers[::2], layers[1::2], strict=True):
                if not table.rows[-1].is_empty:
                    table.add_button.click()
                table.low.value, table.high.value = low, high

        adding = {"matched": table.match_by_name, "by_hand": by_hand, "files": lambda: table.add_files(sources)}
        for name, add in adding.items():
            for what, do in ((f"{name}_s", add), (f"{name}_removed_s", table.remove_all)):
                pause(1)
                begun = time.perf_counter()
                do()
                wait(lambda: all(row.is_checked for row in table.rows))
                found[what] = round(time.perf_counter() - begun, 3)
                wait(lambda: not table.is_checking)
    table.match_by_name()
    begun = time.perf_counter()
    viewer.layers.clear()
    pause(0)
    found["layers_cleared_s"] = round(time.perf_counter() - begun, 3)
    viewer.close()
    return found


def main(*parts: str) -> None:
    """Measure the parts named, or all of them."""
    if os.environ.get("NAPARI_CARE_LOSSES_BENCHMARK") == "part":
        print(json.dumps(PARTS[parts[0]]()))
        return
    found: dict[str, float] = {}
    chosen = [one for part in parts for one in TOGETHER.get(part, (part,))]
    for part in chosen or tuple(PARTS):
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                "NAPARI_CARE_LOSSES_BENCHMARK": "part",
                "NAPARI_CARE_LOSSES_LIBRARY": str(Path(folder) / "library"),
                "NAPARI_CONFIG": str(Path(folder) / "settings.yaml"),
            }
            done = subprocess.run(
                [sys.executable, __file__, part],
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        measured = json.loads(done.stdout.splitlines()[-1])
        print(part, json.dumps(measured), flush=True)
        for name, value in measured.items():
            found[name] = max(value, found.get(name, value))
    print(json.dumps(found))


PARTS = {
    "training": measure_training,
    "restoring": measure_restoring,
    "preview": measure_preview,
    "scores": measure_scores,
    "pairs": measure_pairs,
    "restoring_all_cores": measure_restoring_all_cores,
}

TOGETHER = {"delay": ("training", "restoring", "restoring_all_cores")}

if __name__ == "__main__":
    main(*sys.argv[1:])
