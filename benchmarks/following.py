"""How soon frames are restored that come at the rate of a camera, and whether one is lost.

    python benchmarks/following.py                                   # 512 x 512 at 30 frames a second
    python benchmarks/following.py --engine openvino-int8
    python benchmarks/following.py --source ome-zarr --frames 10000 --size 64 --rate 100
    python benchmarks/following.py --size 2048 --rate 30 --live

Frames come from memory, or from an OME-Zarr, TIFF or folder that another process writes. With ``--live`` only the
newest can be had, as of a live image: those that are replaced before they are read are skipped. Otherwise all are
restored, and written into an OME-Zarr. Prints one line of JSON: delays in milliseconds from when a frame was due (to be
written, where it comes from a disk) until it was restored, frames a second, frames lost (neither restored nor skipped)
and skipped. On a machine that is busy otherwise, run it at real-time priority: ``chrt -r 1 python ...``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_care_losses.compute.steps import Steps
from napari_care_losses.following.delays import Delays
from napari_care_losses.following.follow import follow
from napari_care_losses.following.progress import FollowOptions
from napari_care_losses.following.source import Arrived, FrameGoneError, Layout
from napari_care_losses.following.sources.open_source import open_source
from napari_care_losses.following.to_file import follow_to_file
from napari_care_losses.io.stacks import read_stack
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.simulation.pairs_and_movies import simulate_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIFFERENT = 8
"""So many different frames come again and again."""

WARM_UP = 1.0
"""Seconds before the camera starts, after the first frames have come."""


def frames_of(size: int) -> NDArray[np.uint16]:
    """Return simulated noisy frames, each another one."""
    low, _ = simulate_pair("actin", (min(size, 512), min(size, 512)), seed=0)
    tiled = np.tile(low, (-(-size // low.shape[0]),) * 2)[:size, :size].astype(np.uint16)
    return np.stack([np.roll(tiled, 7 * number, axis=1) for number in range(DIFFERENT)])


class Camera:
    """A source in memory to which a frame comes at every tick of a clock; the first three at once, to warm up."""

    name = "camera"

    def __init__(self, frames: NDArray[np.uint16], rate: float, count: int, *, is_live: bool) -> None:
        self.frames, self.rate, self.total, self.keeps_frames = frames, rate, count, not is_live
        self.layout = Layout(frame_shape=frames.shape[1:], dtype=frames.dtype)
        self.began = float("inf")

    def start(self) -> None:
        """Let frames come from now on."""
        self.began = time.monotonic()

    def count(self) -> int:
        """Return how many have come."""
        elapsed = time.monotonic() - self.began
        return 3 + (min(self.total, int(elapsed * self.rate) + 1) if elapsed >= 0 else 0)

    def poll(self) -> Arrived:
        """Look."""
        count = self.count()
        return Arrived(count, oldest=0 if self.keeps_frames else count - 1, has_ended=count == self.total + 3)

    def frame(self, number: int) -> NDArray[np.uint16]:
        """Return a frame, copied as from a driver."""
        if not self.keeps_frames and number < self.count() - 1:
            raise FrameGoneError(f"frame {number} was replaced")
        copied: NDArray[np.uint16] = self.frames[number % DIFFERENT].copy()
        return copied

    def arrival(self, number: int) -> float | None:
        """Return when it was due."""
        return None if number < 3 else self.began + (number - 3) / self.rate

    def wait(self, seconds: float) -> None:
        """Wait for the next."""
        time.sleep(min(seconds, 0.001))

    def close(self) -> None:
        """Nothing is open."""


def write(kind: str, path: Path, size: int, rate: float, count: int, go: Any, clock: Any) -> None:
    """Write three frames, wait for `go`, then write the others at a rate; runs in a process of its own."""
    import tifffile
    import zarr

    frames = frames_of(size)
    array: Any = None
    if kind == "ome-zarr":
        group = zarr.create_group(path)
        array = group.create_array(
            "0", shape=(count + 3, size, size), chunks=(1, size, size), dtype="uint16", compressors=None
        )
        axes = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
        scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
        datasets = [{"path": "0", "coordinateTransformations": scale}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}

    def put(number: int) -> None:
        frame = frames[number % DIFFERENT]
        if kind == "ome-zarr":
            array[number] = frame
        elif kind == "tiff":
            tifffile.imwrite(path, frame, append=number > 0, photometric="minisblack")
        else:
            path.mkdir(exist_ok=True)
            tifffile.imwrite(path / f"part{number}", frame, photometric="minisblack")
            (path / f"part{number}").rename(path / f"t{number:06}.tif")

    for number in range(3):
        put(number)
    go.wait()
    clock.value = began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        put(number + 3)


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Follow, and return what was found."""
    model = load_model(find_model(options.model))
    parameters = RestorationParameters(engine=options.engine, correlated_noise="ignore")
    total, go, clock = options.frames + 3, multiprocessing.Event(), multiprocessing.Value("d", 0.0)
    names = {"ome-zarr": "in.ome.zarr", "tiff": "in.tif", "folder": "in"}
    if options.source == "memory":
        source: Any = Camera(frames_of(options.size), options.rate, options.frames, is_live=options.live)
        start = source.start
    else:
        path = folder / names[options.source]
        if options.source == "folder":
            path.mkdir()
        given = (options.source, path, options.size, options.rate, options.frames, go, clock)
        multiprocessing.Process(target=write, args=given, daemon=True).start()
        source, start = open_source(path), go.set
    out = folder / "out.ome.zarr"
    ends = FollowOptions(until=total, idle=60.0, device="cpu")
    if options.live:
        work: Any = follow(source, model, None, parameters, ends)
    else:
        work = follow_to_file(source, model, out, parameters, None, ends)
    warm, begun, restored, last = 0.0, 0.0, [], None
    for last in Steps(work):
        now = time.monotonic()
        if last.frame is not None:
            restored.append((last.frame.index, now))
        warm = warm or (now if last.restored >= (1 if options.live else 3) else 0.0)
        if warm and not begun and now - warm >= WARM_UP:
            begun = now
            start()
    assert last is not None
    began = source.began if options.source == "memory" else clock.value
    delays = Delays(when - began - (number - 3) / options.rate for number, when in restored if number >= 3)
    times = [when for _, when in restored if when > begun]
    written = total if options.live else len(read_stack(out))
    return {
        "size": options.size,
        "rate": options.rate,
        "source": "live image" if options.live else options.source,
        "engine": options.engine,
        "model": options.model,
        "frames": total,
        "restored": last.restored,
        "skipped": last.dropped,
        "lost": total - last.restored - last.dropped + (total - written),
        "twice": len(restored) - len({number for number, _ in restored}),
        "delay_ms": {
            "median": round(1000 * delays.median, 1),
            "p95": round(1000 * delays.p95, 1),
            "worst": round(1000 * delays.worst, 1),
        },
        "frames_a_second": round((len(times) - 1) / (times[-1] - times[0]), 2),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--model", default="fft-lite")
    parser.add_argument("--source", default="memory", choices=("memory", "ome-zarr", "tiff", "folder"))
    parser.add_argument("--live", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measured(options, Path(folder))))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
