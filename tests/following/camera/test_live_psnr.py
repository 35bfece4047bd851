"""The estimated PSNR of a live image, and the lowest amount of light, asked at the microscope."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from napari_care_losses.compute.steps import Steps, finish
from napari_care_losses.errors import InputError, ParameterError
from napari_care_losses.evaluation.metrics import score
from napari_care_losses.following.camera.live_psnr import CLOSE_ENOUGH, LivePsnr, lowest_exposure
from napari_care_losses.models.library import find_model
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.camera import SimulatedCamera

pytestmark = pytest.mark.usefixtures("one_torch_thread")

ENOUGH = 36.0
"""In dB."""


@pytest.fixture(scope="module")
def model():
    return load_model(find_model("fft-lite"))


@pytest.fixture
def cells():
    return SimulatedCamera("actin", (128, 128), seed=1)


def test_the_exposure_is_turned_down_until_the_psnr_is_just_good_enough(make_core, cells, model):
    """The paper's last question, the lowest amount of light, asked at a microscope."""
    core = make_core(cells.record)

    def record(exposure_ms):
        core.setExposure(exposure_ms)
        return core.snap()

    search = Steps(lowest_exposure(record, model, psnr=ENOUGH, shortest_ms=0.2, longest_ms=50))
    tried = list(search)
    found = search.result
    assert found in tried
    assert found.estimated.psnr >= ENOUGH
    too_short = max(one.exposure_ms for one in tried if one.estimated.psnr < ENOUGH)
    assert found.exposure_ms / too_short <= CLOSE_ENOUGH
    assert 0.2 < found.exposure_ms < 20
    # and it is so: by a truth that no microscope has
    truth = np.mean([cells.record(400.0) for _ in range(4)], axis=0)
    least = ENOUGH - found.estimated.uncertainty
    for exposure, is_enough in ((found.exposure_ms, True), (found.exposure_ms / 8, False)):
        true = np.mean([score(restore(cells.record(exposure), model), truth)["psnr"] for _ in range(3)])
        assert (true > least) == is_enough, true


def test_the_estimate_falls_with_the_light(cells, model):
    live = LivePsnr(model)
    estimates = [live.estimate(cells.record(exposure)).psnr for exposure in (20.0, 2.0, 0.2)]
    assert estimates[0] > estimates[1] + 2 > estimates[2] + 4


def test_where_the_longest_exposure_does_not_suffice_it_is_said(cells, model):
    with pytest.raises(
        InputError, match=r"Even at 2 ms the PSNR is about .* below the 60 dB asked for: use more light"
    ):
        finish(lowest_exposure(cells.record, model, psnr=60, shortest_ms=1, longest_ms=2))


def test_where_the_shortest_suffices_it_is_found(cells, model):
    found = finish(lowest_exposure(cells.record, model, psnr=15, shortest_ms=1, longest_ms=2))
    assert found.exposure_ms == 1


def test_exposures_in_the_wrong_order_are_refused(cells, model):
    with pytest.raises(ParameterError, match="found 5 and 2 ms"):
        finish(lowest_exposure(cells.record, model, psnr=30, shortest_ms=5, longest_ms=2))


def test_the_lines_of_the_tutorial_run(capsys, monkeypatch):
    # the microscope of the tutorial, with a smaller camera
    camera = partial(SimulatedCamera, "actin", (128, 128))
    monkeypatch.setattr("napari_care_losses.following.camera.simulated_microscope.SimulatedCamera", camera)
    page = Path(__file__).parents[3] / "docs" / "tutorial" / "while_you_image.md"
    names = {}
    for block in re.findall(r"```py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    assert not names["core"].isSequenceRunning()
    names["core"].unloadAllDevices()
    names.clear()
    assert " ms: " in capsys.readouterr().out
