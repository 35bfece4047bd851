"""Examples are documentation: they run."""

import runpy
import sys
from pathlib import Path

import numpy as np
import tifffile

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_training_on_arrays(monkeypatch, capsys):
    run(monkeypatch, "train_on_arrays.py", 2)
    assert "held-out frame: {'psnr':" in capsys.readouterr().out


def test_restoring_a_large_stack(monkeypatch, tmp_path):
    stack = np.random.default_rng(0).poisson(30, (3, 40, 52)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    run(monkeypatch, "restore_large_stack.py", tmp_path / "stack.tif", tmp_path / "out.tif", "fft-lite")
    restored = tifffile.imread(tmp_path / "out.tif")
    assert restored.shape == stack.shape
    assert restored.std() < stack.std()
