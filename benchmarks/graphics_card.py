"""Restoring and training on a graphics card, in every precision; without one, the same on the CPU.

    python benchmarks/graphics_card.py [--device cuda] [--sizes 512 2048] [--presets care lite deep live] [--seconds 3]
                                       [--matrix 8192] [--steps 200] [--batch-size 16] [--out graphics_card.json]

Networks have random weights, which changes no time. Of every preset and precision: frames a second of the network
alone, with the copies to the device and back; that of a whole restoration of a stack in memory (range, padding, low
band); the share of the device's peak that the network reaches, the peak being the matrix product of the same precision
in the same run; and what the engine itself says of its cost. Then training steps a second. `--device cpu --sizes 128
--presets lite --seconds 0.2 --matrix 256 --steps 4` tries the script itself.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_care_losses.compute.devices import choose_device
from napari_care_losses.compute.precision import BFLOAT16, FLOAT16, FLOAT32, TF32, computing_in, why_not
from napari_care_losses.images.frames import Frames
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore_frames
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Step
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINES = {FLOAT32: "torch", TF32: "torch-tf32", BFLOAT16: "torch-bfloat16", FLOAT16: "torch-float16"}
TYPES = {BFLOAT16: torch.bfloat16, FLOAT16: torch.float16}


def main() -> None:
    """Measure, print the rows, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--matrix", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("graphics_card.json"))
    options = parser.parse_args()
    device = torch.device(choose_device(options.device))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    rows: list[dict[str, Any]] = []
    for precision in ENGINES:
        if reason := why_not(precision, device):
            print(f"{precision}: {reason}")
            continue
        peak = matrix_product(precision, device, options.matrix, options.seconds)
        rows.append({"what": "matrix product", "precision": precision, "operations_per_second": peak})
        print(f"{precision}: matrix product {peak / 1e12:.3g} TFLOP/s")
        for preset in options.presets:
            for size in options.sizes:
                rows.append(restoring(preset, precision, device, size, options.seconds, peak))
                print(rows[-1], flush=True)
            if precision in (FLOAT32, BFLOAT16):
                rows.append(training(preset, precision, device, options.steps, options.batch_size))
                print(rows[-1], flush=True)
    about = {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}
    options.out.write_text(json.dumps({**about, "rows": rows}, indent=1))


def per_second(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return how often work is done in a second, after three times that do not count."""
    for _ in range(3):
        work()
    count, begun = 0, _now(device)
    while (spent := _now(device) - begun) < seconds or count < 2:
        work()
        count += 1
    return count / spent


def matrix_product(precision: str, device: torch.device, width: int, seconds: float) -> float:
    """Return the operations a second of a square matrix product: what the device can do at most."""
    matrix = torch.rand(width, width, device=device).to(TYPES.get(precision, torch.float32))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == TF32
    try:
        return 2 * width**3 * per_second(lambda: matrix @ matrix, device, seconds)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def restoring(
    preset: str, precision: str, device: torch.device, size: int, seconds: float, peak: float
) -> dict[str, Any]:
    """Return the frames a second of square frames, by the network alone and by a restoration."""
    network = CareNetwork(PRESETS[preset], torch.Generator().manual_seed(0))
    model = Model(ModelCard(structure="other", loss="mae", architecture=PRESETS[preset]), network.state_dict())
    frame = np.random.default_rng(0).gamma(2, 100, (size, size)).astype(np.float32)
    engine = open_engine(ENGINES[precision], model, device.type)
    tile = frame / 1000
    with closing(engine):
        engine.prepare([tile])
        alone = per_second(lambda: engine.restore(tile), device, seconds)
    with torch.inference_mode(), computing_in(FLOAT32, torch.device("cpu")), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 64, 64))
    operations = counter.get_total_flops() * size**2 / 64**2
    # as many frames as take the time, read from memory one after the other
    count = max(3, int(alone * seconds))
    stack = np.broadcast_to(frame, (count, size, size))
    parameters = RestorationParameters(engine=ENGINES[precision], correlated_noise="ignore")
    times = [_now(device)]
    for step in restore_frames(Frames(stack, "TYX"), model, parameters, device=device.type):
        if step.frame is not None:
            times.append(_now(device))
    return {
        "what": "restoring",
        "preset": preset,
        "precision": precision,
        "size": size,
        "network_frames_per_second": alone,
        "frames_per_second": (len(times) - 2) / (times[-1] - times[1]),
        "share_of_peak": alone * operations / peak,
        "cost": engine.note,
    }


def training(preset: str, precision: str, device: torch.device, steps: int, batch_size: int) -> dict[str, Any]:
    """Return the training steps a second, the first of ten left out."""
    low, high = simulate_pairs("actin", 6, (256, 256), seed=1)
    pairs = [Pair(low[number], high[number], f"field {number}") for number in range(len(low))]
    parameters = TrainingParameters(
        preset=preset, precision=precision, budget="steps", amount=steps, steps_per_epoch=steps, batch_size=batch_size
    )
    times = []
    for report in Trainer(pairs, LOSSES["fft"](), parameters, device=device.type).run():
        if isinstance(report, Step):
            times.append(_now(device))
    first = len(times) // 10
    rate = (len(times) - 1 - first) / (times[-1] - times[first])
    return {"what": "training", "preset": preset, "precision": precision, "steps_per_second": rate}


def _now(device: torch.device) -> float:
    """Return the time in seconds, once the device has done what it was given; on a CPU, the processor's time."""
    if device.type == "cpu":
        return time.process_time()
    (torch.cuda if device.type == "cuda" else torch.mps).synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
