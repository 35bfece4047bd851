"""The notebooks run from their first cell to the last, and what is stored of them is small."""

import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

EXAMPLES = Path(__file__).parents[2] / "examples"

TINY = {
    "restore_and_compare": 'FIELDS, WIDTH, METHODS = 2, 64, {"FFT": "fft-lite"}',
    "train": (
        "FIELDS, WIDTH, STEPS = 3, 64, 4\n"
        'SETTINGS = {"patch_size": 16, "batch_size": 2, "validation_patches": 2, "steps_per_epoch": 2}'
    ),
}
"""What is run after the cell of parameters."""

LARGEST = 700_000
"""Bytes of a notebook, its pictures included."""


def test_every_notebook_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(TINY)


@pytest.mark.parametrize("name", TINY)
def test_a_notebook_runs_with_tiny_settings(name, tmp_path):
    pytest.importorskip("ipykernel")
    book = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    (place,) = (place for place, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", []))
    book.cells.insert(place + 1, nbformat.v4.new_code_cell(TINY[name]))
    client = nbclient.NotebookClient(book, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "napari-care-losses" in str(book.cells[-1].outputs)


@pytest.mark.parametrize("name", TINY)
def test_a_notebook_is_stored_with_small_pictures_and_no_path_of_its_author(name):
    path = EXAMPLES / f"{name}.ipynb"
    text = path.read_text(encoding="utf-8")
    assert len(text) < LARGEST
    book = json.loads(text)
    pictures = [output for cell in book["cells"] for output in cell.get("outputs", []) if "image/png" in str(output)]
    assert len(pictures) >= 2
    said = "\n".join(line for line in text.splitlines() if '"image/png"' not in line)
    assert re.search(r"(?<![\w:/.])/(?!data/)(?:[\w.-]+/)+", said) is None, "a path of the machine that ran it"
    assert "Traceback" not in said
