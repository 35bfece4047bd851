import csv
import shlex
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from fixtures.cli_runs import TINY, save_model, status_of
from fixtures.forked_programs import run_forked

from napari_care_losses.comparison.compare import INPUT, Method
from napari_care_losses.comparison.record import ComparisonRecord
from napari_care_losses.restoration.parameters import RestorationParameters


@pytest.fixture
def record(tmp_path):
    """Return the record of a comparison of two channels' movies, with labels of its own."""
    folder = tmp_path / "it's \u00fc"
    folder.mkdir()
    save_model(folder / "own.safetensors", TINY)
    rng = np.random.default_rng(0)
    truth = rng.uniform(20, 200, (3, 2, 6, 6)).repeat(8, axis=2).repeat(8, axis=3)
    for name, stack in (("low", rng.poisson(truth)), ("high", truth)):
        options = {"ome": True, "photometric": "minisblack", "metadata": {"axes": "TCYX"}}
        tifffile.imwrite(folder / f"{name}.ome.tif", stack.astype(np.uint16), **options)
    return ComparisonRecord(
        source=folder / "low.ome.tif",
        truth=folder / "high.ome.tif",
        methods=[Method("own", model=folder / "own.safetensors"), Method("TV (quick)", baseline="tv")],
        out=folder / "page.html",
        parameters=RestorationParameters(average_flips=True, tile_size=32),
        channel=1,
        independent=True,
        reference=INPUT,
        aligned=False,
    )


def scores_of(record):
    """Return the scores that a comparison has left beside its page, and remove them."""
    tables = {}
    for path in record.out.parent.glob(f"{record.out.stem}*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            tables[path.name] = list(csv.reader(file))
        path.unlink()
    record.out.unlink()
    return tables


@pytest.mark.parametrize(
    "settings",
    [{}, {"only": (0, 2), "shown": 2}, {"ranges": [(1, 3)], "shown": 1, "reference": "TV (quick)", "aligned": True}],
    ids=["channel", "only", "ranges"],
)
def test_command_and_python_give_the_same_scores(record, settings):
    record = replace(record, **settings)
    assert status_of(*record.words()) == 0
    page = record.out.read_text(encoding="utf-8")
    by_command = scores_of(record)
    assert len(by_command) == 2 and "TV (quick)" in str(by_command)
    exec(record.python(), {})
    assert scores_of(record) == by_command
    assert "To make it again" in page and "In PowerShell" in page and "compare_to_file" in page


def test_command_runs_in_a_process_of_its_own(record, tmp_path, monkeypatch):
    record = replace(record, methods=record.methods[1:], truth=None, channel=0, only=(1,), shown=None)
    monkeypatch.chdir(tmp_path)
    assert run_forked(*shlex.split(record.bash())[1:]).returncode == 0
    assert record.out.exists()


def test_a_frame_that_is_not_compared_cannot_be_shown(record, capsys):
    assert status_of(*replace(record, only=(0,)).words(), "--show", "2") == 2
    assert "none of those that are compared" in capsys.readouterr().err
