import numpy as np
import pytest
from fixtures.cli_runs import status_of, write
from PIL import Image

from napari_care_losses.cli import demo
from napari_care_losses.cli.main import main
from napari_care_losses.comparison.report.panels import GAP, LABEL_HEIGHT
from napari_care_losses.simulation.pairs_and_movies import simulate_pair


@pytest.mark.parametrize(("frames", "size"), [(1, 192), pytest.param(demo.FRAMES, demo.SIZE, marks=pytest.mark.slow)])
def test_the_demo_prints_its_table_and_writes_picture_and_stacks(tmp_path, capsys, monkeypatch, frames, size):
    monkeypatch.setattr(demo, "FRAMES", frames)
    monkeypatch.setattr(demo, "SIZE", size)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert main(["demo", "--out", str(tmp_path / "demo"), "--no-viewer"]) == 0
    printed = capsys.readouterr().out
    scores = {}
    for row in ("Input", "Total variation", "Non-local means", "CARE Laplace", "CARE FFT", "CARE Bandpass"):
        line = next(line for line in printed.splitlines() if line.startswith(row))
        scores[row] = float(line.removeprefix(row).split()[0])
    assert all(psnr > scores["Input"] + 5 for row, psnr in scores.items() if row != "Input")
    written = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"comparison.png", "input.tif", "truth.tif", "care-fft.tif", "total-variation.tif"} <= written


@pytest.fixture
def few(monkeypatch):
    """Let the demo take little time."""
    for name, value in {"FRAMES": 1, "SIZE": 64, "REAL_SIZE": 96}.items():
        monkeypatch.setattr(demo, name, value)


@pytest.mark.usefixtures("few")
def test_a_real_pair_stands_beside_the_simulated_one(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, image in zip(("low.tif", "high.tif"), simulate_pair("actin", (120, 160), seed=3), strict=True):
        write(tmp_path / name, image)
    assert status_of("demo", "--pair", "low.tif", "high.tif", "--no-viewer") == 0
    printed = capsys.readouterr().out.splitlines()
    head = next(line for line in printed if "Simulated" in line and "Real" in line)
    assert head.index("Simulated") < head.index("Real")
    scores = {
        line[:20].strip(): [float(text) for text in line[20:].split()] for line in printed if line.startswith("CARE")
    }
    assert set(scores) == {"CARE FFT", "CARE Bandpass", "CARE Laplace"}
    given = next(line for line in printed if line.startswith("Input"))[20:].split()
    assert all(each[3] > float(given[3]) + 3 for each in scores.values())
    with Image.open(tmp_path / "demo" / "comparison.png") as picture:
        # 7 simulated and 7 real ones of 96 px, 4 beside each other
        assert picture.size == (4 * (96 + GAP) + GAP, 4 * (96 + LABEL_HEIGHT + GAP) + GAP)


@pytest.mark.usefixtures("few")
def test_a_pair_of_two_sizes_or_a_missing_file_is_refused_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "low.tif", np.ones((40, 40), np.uint16))
    write(tmp_path / "high.tif", np.ones((40, 48), np.uint16))
    assert status_of("demo", "--pair", "low.tif", "high.tif", "--no-viewer") == 2
    assert "low.tif is of 40 x 40 px, high.tif of 40 x 48 px" in capsys.readouterr().err
    assert status_of("demo", "--pair", "low.tif", "nowhere.tif", "--no-viewer") == 2
    assert not (tmp_path / "demo").exists()
