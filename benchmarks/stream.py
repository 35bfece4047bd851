"""How many frames a second a stream restores, as a share of what the compiled network alone does.

    python benchmarks/stream.py            # about three minutes on two cores
    python benchmarks/stream.py --quick    # in one, fewer frames

In one process and by turns, some frames each: OpenVINO's compiled network on one normalised tile, and a whole stream
that reads, finds ranges, restores, stitches, ties the low band where the loss leaves it free, and writes. Prints a
table and a line of JSON: frames a second of the network, of each stream and their ratio, and the processor time of a
frame in milliseconds: of the network, and what the stream takes besides. With all cores free, a ratio of 1 says that
everything around the network runs beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from following import DIFFERENT, Camera, frames_of

from napari_care_losses.errors import InputError
from napari_care_losses.following.follow import follow
from napari_care_losses.following.progress import FollowOptions
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import frame_range
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import Model, ModelCard, load_model
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.engines.base import as_batch
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.engines.openvino_engine import OpenVinoEngine, make_request
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.restoration.to_file import restore_to_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

SIZE = 512
ENGINES = ("openvino", "openvino-int8")

MODELS = {"fft-live": 12, "fft-lite": 12, "bandpass-lite": 12, "fft-care": 2}
"""Models, and how many frames of each are restored in a turn."""

ROUNDS = 3


class Turn(NamedTuple):
    """What a frame took, the mean of a turn, in seconds."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Stream:
    """One way of restoring a stream; `start` makes a generator that yields something after every frame."""

    name: str
    start: Callable[[Model, RestorationParameters, int, Path], Iterator[Any]]


def frames_from_memory(count: int) -> Frames:
    """Return a stack of that many frames."""
    some = frames_of(SIZE)
    return Frames(np.concatenate([some] * -(-count // DIFFERENT))[:count], "TYX")


def in_memory(model: Model, parameters: RestorationParameters, count: int, _: Path) -> Iterator[Any]:
    """Restore a stack in memory, and keep nothing."""
    return restored(restore_frames(frames_from_memory(count), model, parameters, device="cpu"))


def into_tiff(model: Model, parameters: RestorationParameters, count: int, folder: Path) -> Iterator[Any]:
    """Restore a stack in memory into a TIFF file."""
    return restored(restore_to_file(frames_from_memory(count), model, folder / "out.tif", parameters))


def into_zarr(model: Model, parameters: RestorationParameters, count: int, folder: Path) -> Iterator[Any]:
    """Restore a stack in memory into an OME-Zarr."""
    return restored(restore_to_file(frames_from_memory(count), model, folder / "out.ome.zarr", parameters))


def followed(model: Model, parameters: RestorationParameters, count: int, _: Path) -> Iterator[Any]:
    """Follow a camera in memory that is never waited for."""
    camera = Camera(frames_of(SIZE), 1e6, count, is_live=False)
    camera.start()
    return restored(follow(camera, model, None, parameters, FollowOptions(until=count, device="cpu")))


STREAMS = (
    Stream("memory", in_memory),
    Stream("TIFF", into_tiff),
    Stream("OME-Zarr", into_zarr),
    Stream("followed", followed),
)


def restored(work: Generator[Any, None, Any]) -> Iterator[Any]:
    """Yield once a frame."""
    try:
        for progress in work:
            if progress.frame is not None:
                yield progress
    finally:
        work.close()


def model_of(name: str) -> Model:
    """Return a model of the library, or an untrained one of its preset."""
    try:
        return load_model(find_model(name))
    except InputError:
        loss, preset = name.split("-")
        architecture = PRESETS[preset]
        card = ModelCard(structure="other", loss=loss, architecture=architecture)
        return Model(card, CareNetwork(architecture, torch.Generator().manual_seed(0)).state_dict())


def network_alone(model: Model, engine: str) -> tuple[Callable[[], object], str]:
    """Return what runs the compiled network on one tile, and the engine's note."""
    frame = frames_of(SIZE)[0]
    tile = frame_range(frame, model.card.normalization).apply(frame)
    opened = open_engine(engine, model, "cpu")
    assert isinstance(opened, OpenVinoEngine), "OpenVINO is not usable here"
    opened.prepare([tile])
    request, batch = make_request(opened._graph, tile.shape), as_batch(tile)
    return lambda: request.infer([batch], share_inputs=True), opened.note


def timed(step: Callable[[], object], count: int) -> Turn:
    """Return what a step takes."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        step()
    return Turn((time.perf_counter() - wall) / count, (time.process_time() - processor) / count)


def measured(name: str, engine: str, count: int, rounds: int) -> list[dict[str, Any]]:
    """Return what each stream of a model took."""
    model, found = model_of(name), []
    alone, note = network_alone(model, engine)
    parameters = RestorationParameters(engine=engine, correlated_noise="ignore")
    for stream in STREAMS:
        with tempfile.TemporaryDirectory() as folder:
            work = stream.start(model, parameters, count * rounds + 2, Path(folder))
            next(work), alone()
            turns = [(timed(alone, count), timed(lambda work=work: next(work), count)) for _ in range(rounds)]  # type: ignore[misc]
            work.close()  # type: ignore[attr-defined]
        network, whole = (min(turn.wall for turn in column) for column in zip(*turns, strict=True))
        beside = min(each.processor - alone.processor for alone, each in turns)
        row = {
            "model": name,
            "engine": engine,
            "stream": stream.name,
            "network_frames_a_second": round(1 / network, 2),
            "stream_frames_a_second": round(1 / whole, 2),
            "ratio": round(float(np.median([alone.wall / each.wall for alone, each in turns])), 3),
            "processor_ms": round(1000 * min(alone.processor for alone, _ in turns), 1),
            "around_it_ms": round(1000 * beside, 1),
        }
        print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
        found.append({**row, "note": note})
    return found


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Fewer frames, and no care.")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--threads", type=int, help="How many cores compute (all).")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    names = [name for name in options.models if not (options.quick and name.endswith("care"))]
    print(
        "| model | engine | stream | network, frames/s | stream, frames/s | ratio | CPU, network | CPU around it, ms |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for name in names:
        count = MODELS.get(name, MODELS["fft-lite"])
        for engine in options.engines:
            rows += measured(name, engine, max(2, count // 3) if options.quick else count, ROUNDS)
    print(json.dumps({"threads": torch.get_num_threads(), "size": SIZE, "streams": rows}))


if __name__ == "__main__":
    main()
