"""Memory that runs out on a device: fewer tiles at once, then smaller ones, and what was computed is let go first."""

import json
import os
import subprocess
import sys
import weakref
from itertools import pairwise

import numpy as np
import pytest
import torch
from fixtures.random_models import image_of, make_model, tile_of

from napari_care_losses.errors import ComputeError
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.engines.choose import open_engine
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore

pytestmark = pytest.mark.usefixtures("one_torch_thread")

MODEL = make_model(Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True), "laplace")
STACK = image_of((2, 128, 100))


class Card:
    """Restores tiles together, and runs out of CUDA's memory beyond a number of pixels; notes what was tried."""

    def __init__(self, monkeypatch, pixels):
        run, self.tried, self.emptied = TorchEngine._results_in, [], []
        start = TorchEngine.__init__

        def started(engine, model, device):
            start(engine, model, device)
            engine.gains_together = True

        def limited(engine, precision, tiles):
            height, width = tiles[0].shape[-2:]
            self.tried.append((len(tiles), height, width))
            if len(tiles) * height * width > pixels:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return run(engine, precision, tiles)

        monkeypatch.setattr(TorchEngine, "__init__", started)
        monkeypatch.setattr(TorchEngine, "_results_in", limited)
        monkeypatch.setattr(TorchEngine, "close", lambda engine: self.emptied.append(len(self.tried)))


def restored(**options):
    return restore(STACK, MODEL, RestorationParameters(engine="torch", **options), device="cpu")


def test_the_batch_is_halved_before_the_tile(monkeypatch):
    expected = restored(tile_size=64, average_flips=True)
    card = Card(monkeypatch, 3 * 64 * 60)
    found = restored(tile_size=64, average_flips=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.ptp(STACK))
    size = card.tried[0][1:]
    together = [number for number, *tried in card.tried if tuple(tried) == size]
    assert together[0] > 4
    first_fit = next(number for number in together if number <= 3)
    halvings = together[: together.index(first_fit) + 1]
    assert all(later <= earlier // 2 for earlier, later in pairwise(halvings))
    assert len(together) == len(card.tried)
    # and the second frame does not try more at once again
    assert max(together[len(halvings) :]) <= first_fit


def test_then_the_tile_is_halved_and_both_are_remembered(monkeypatch):
    expected = restored(average_flips=True)
    card = Card(monkeypatch, 70 * 70)
    np.testing.assert_allclose(restored(average_flips=True), expected, rtol=0, atol=1e-5 * np.ptp(STACK))
    whole = [number for number, height, _ in card.tried if height == 128]
    assert whole == [4, 2, 1]
    assert {size for size in card.tried if size[1] < 128} == {(1, 60, 56)} or card.tried[-1][0] == 1
    # memory is given back after each failure, before the next is tried
    assert card.emptied[:3] == [1, 2, 3]
    card.tried.clear()
    restored(average_flips=True)
    assert all(number * height * width <= 70 * 70 for number, height, width in card.tried)


def test_a_device_without_memory_for_the_smallest_tile_says_so(monkeypatch):
    card = Card(monkeypatch, 0)
    with pytest.raises(ComputeError, match="CUDA out of memory"):
        restored()
    assert card.tried[-1][0] == 1


def test_what_was_computed_until_then_is_let_go_before_the_memory_is_given_back(monkeypatch):
    """The error that was caught would hold it, and the smaller tile fail too."""
    held, alive = [], []

    def fail(self, layer, features, skip):
        computed = torch.ones(8)
        held.append(weakref.ref(computed))
        raise torch.cuda.OutOfMemoryError("out of memory")

    engine = open_engine("torch", MODEL, "cpu")
    monkeypatch.setattr(type(engine._network), "_convolved", fail)
    monkeypatch.setattr(engine, "close", lambda: alive.extend(reference() for reference in held))
    with pytest.raises(ComputeError):
        engine.restore(tile_of((16, 16)))
    assert alive == [None]


CHILD = """
import json, resource, sys
import numpy as np, psutil, torch
torch.set_num_threads(1)
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.models.model import Model, ModelCard
from napari_care_losses.models.unet import CareNetwork
from napari_care_losses.restoration.engines.torch_engine import TorchEngine
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore

shape = Architecture(kernel_size=1, filters=64, depth=1)
network = CareNetwork(shape, torch.Generator().manual_seed(0))
model = Model(ModelCard(structure="other", loss="mae", architecture=shape), network.state_dict())
image = np.random.default_rng(0).gamma(2, 100, (512, 512)).astype(np.float32)
settings = {"engine": "torch", "correlated_noise": "ignore"}
expected = restore(image, model, RestorationParameters(tile_size=128, **settings), device="cpu")
sizes, errors, run = [], [], TorchEngine._run_together
def watched(engine, tiles):
    sizes.append(tiles[0].shape[-1])
    try:
        return run(engine, tiles)
    except RuntimeError as error:
        errors.append(str(error))
        raise
TorchEngine._run_together = watched
# a layer of the whole frame takes 64 MB
used = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + (110 << 20), resource.RLIM_INFINITY))
found = restore(image, model, RestorationParameters(tile_size=512, **settings), device="cpu")
difference = float(np.abs(found - expected).max() / np.ptp(expected))
print(json.dumps({"sizes": sizes, "errors": errors, "difference": difference}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_memory_that_really_runs_out_gives_smaller_tiles():
    """No error is injected: the process may take less than the tile asked for needs."""
    environment = {"MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["sizes"][0] == 512
    assert said["sizes"][-1] < 512
    assert any("allocate memory" in error for error in said["errors"]), said["errors"]
    assert said["difference"] < 1e-5
