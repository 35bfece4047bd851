"""Intervals on the command line: trained, written beside the result, and compared with the truth."""

import json

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import names, status_of, train, write

from napari_care_losses.evaluation.uncertainty import interval_coverage
from napari_care_losses.models.model import load_model
from napari_care_losses.restoration.restore_stack import restore

pytestmark = pytest.mark.usefixtures("tiny_preset", "folder", "model_library")


@pytest.mark.parametrize("loss", ["laplace", "mae"])
def test_a_trained_model_s_intervals_are_written_and_evaluated(folder, capsys, loss):
    assert train(loss=loss) == 0
    command = ["restore", "m.safetensors", "low.tif", "--out", "out.tif", "--interval-out", "lower.tif", "upper.tif"]
    assert status_of(*command) == 0
    lower, out, upper = (tifffile.imread(f"{name}.tif") for name in ("lower", "out", "upper"))
    model = load_model("m.safetensors")
    assert np.allclose(out, restore(tifffile.imread("low.tif"), model, device="cpu"), rtol=1e-4, atol=1e-2)
    assert (lower < out).all()
    assert np.allclose((lower + upper) / 2, out, rtol=1e-4, atol=1e-2)
    assert status_of(*command, "--interval", 50) == 0
    narrower = [tifffile.imread(f"{name}.tif") for name in ("lower", "upper")]
    assert (narrower[1] - narrower[0] < upper - lower).all()
    capsys.readouterr()
    scoring = ["evaluate", "--restored", "out.tif", "--truth", "high.tif", "--interval", "lower.tif", "upper.tif"]
    assert status_of(*scoring, "--json", "--frames", "1:4") == 0
    scores = json.loads(capsys.readouterr().out)
    truth = tifffile.imread("high.tif")
    expected = [interval_coverage(out[i], narrower[0][i], narrower[1][i], truth[i])._asdict() for i in range(1, 4)]
    for row, values in zip(scores["frames"], expected, strict=True):
        assert {name: row["restored"][name] for name in values} == pytest.approx(values, abs=1e-6)
    assert status_of(*scoring) == 0
    assert "restored Coverage, brightest tenth" in capsys.readouterr().out.splitlines()[0]


def test_many_files_have_no_single_interval_file(folder, capsys):
    assert train() == 0
    (folder / "in").mkdir()
    write("in/a.tif", tifffile.imread("low.tif"))
    options = ["--out", "results", "--interval-out", "lower.tif", "upper.tif"]
    assert status_of("restore", "m.safetensors", "in", *options) == 2
    assert "--interval-out is of a single image" in capsys.readouterr().err
    assert "results" not in names(folder)
