"""Too little memory: smaller tiles, then a clear error, never an abort."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from children import environment
from counts import images, say, scaled
from fixtures.forked_programs import run_forked
from killing import _model

from napari_care_losses.errors import CareError, ComputeError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.restoration.engines.base import Engine
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.training.pairs import Pair
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = 20
"""Processes with little memory, of every engine."""

FAILURES = 50
"""Restorations on a device that runs out of memory."""

LEAST, MOST = 20, 700
"""Megabytes left to a process that has loaded everything and restored a small image."""

SIZES = 1024, 2048
"""Height and width of what it is to restore then."""

TRAINING = "training"
"""In place of an engine: what is limited is a training, of whose first step nothing has been done."""

TIGHT = environment(MALLOC_TRIM_THRESHOLD_="65536")
"""What has been freed goes back to the system, as with Dask's workers, so that a limit is one at once."""


def run(scale: float) -> dict[str, float]:
    """Limit the memory of processes, and let a device fail on tiles beyond a random size."""
    counts = {"memory_limits": 0, "restored_within_them": 0, "trained_within_them": 0, "refused_clearly": 0}
    engines = ("torch", "openvino", TRAINING) if scale >= 0.1 else ("torch", TRAINING)
    for engine in engines:
        times = scaled(LIMITS, scale)
        for number in range(times):
            megabytes = LEAST * (MOST / LEAST) ** (number / times)
            done = _in_a_process(engine, megabytes, SIZES[number % 2], is_forked=scale < 0.1)
            assert done.returncode == 0, f"{engine}, {megabytes:.0f} MB: {done.returncode}\n{done.stderr[-3000:]}"
            counts["memory_limits"] += 1
            counts[json.loads(done.stdout.splitlines()[-1])] += 1
        say(f"memory: {counts}")
    return counts | _failing_device(scaled(FAILURES, scale))


def _in_a_process(*work: object, is_forked: bool) -> subprocess.CompletedProcess[str]:
    # one that is forked begins at once, but keeps what has been freed
    if is_forked:
        return run_forked(*work, code="import starving; starving.main()")
    command = [sys.executable, __file__, *map(str, work)]
    return subprocess.run(command, env=TIGHT, capture_output=True, text=True, check=False)


def _failing_device(times: int) -> dict[str, float]:
    """Inject CUDA's error for tiles beyond a random width."""
    stack, model, moments = images(1)[0], _model(seed=1), random.Random(0)
    parameters = RestorationParameters(engine="torch")
    expected, run_tile = restore(stack, model, parameters, device="cpu"), TorchEngine._run
    counts = {"cuda_errors": 0, "cuda_errors_survived": 0}
    try:
        for _ in range(times):
            Engine._limits.clear()
            width = moments.choice((0, 100, 130, 160, 200))

            def fail(engine: TorchEngine, tile: np.ndarray, width: int = width):
                if max(tile.shape) > width:
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
                return run_tile(engine, tile)

            TorchEngine._run = fail
            counts["cuda_errors"] += 1
            try:
                restored = restore(stack, model, parameters, device="cpu")
                assert width
                assert np.abs(restored - expected).max() < 1e-4 * np.ptp(stack)
                counts["cuda_errors_survived"] += 1
            except ComputeError as error:
                assert not width, "tiles of this width would have done"
                assert "choose a smaller tile size" in str(error)
    finally:
        TorchEngine._run = run_tile
        Engine._limits.clear()
    return counts


def _confined(engine: str, megabytes: float, size: int) -> str:
    """Work with so much memory beyond what is taken already; return how it ended."""
    torch.set_num_threads(1)
    begin = _training if engine == TRAINING else _restoration
    work, done = begin(engine, size)
    limit = int(psutil.Process().memory_info().vms + megabytes * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        work()
    except CareError as error:
        assert "emory" in str(error), error
        return "refused_clearly"
    return done


def _restoration(engine: str, size: int) -> tuple[Callable[[], None], str]:
    low, model = images(1, size)[0], _model(seed=1)
    parameters = RestorationParameters(engine=engine)
    restore(low[:, :128, :128], model, parameters, device="cpu")

    def work() -> None:
        assert np.isfinite(restore(low, model, parameters, device="cpu")).all()

    return work, "restored_within_them"


def _training(_engine: str, size: int) -> tuple[Callable[[], None], str]:
    low, high = (stack.astype(np.float32) for stack in images(4, size // 8))
    pairs = [Pair(*frames, f"pair[{number}]") for number, frames in enumerate(zip(low, high, strict=True))]
    settings = TrainingParameters(preset="lite", budget="steps", amount=10, steps_per_epoch=5, validation_patches=8)
    trainer = Trainer(pairs, LOSSES["fft"](), settings, device="cpu")

    def work() -> None:
        for report in trainer.run():
            assert not isinstance(report, Epoch) or np.isfinite(report.validation_loss)

    return work, "trained_within_them"


def main() -> None:
    """Do the work that the arguments of this process name; print how it ended."""
    print(json.dumps(_confined(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
