"""The page of what is used from Python: it is what the docstrings say, and its lines run."""

import re
import runpy
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from napari_care_losses.models.model import load_model

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")


def test_the_page_says_what_the_docstrings_say():
    made = runpy.run_path(str(DOCS / "make_api.py"))["page"]()
    assert made == PAGE, "docs/api.md is out of date: python docs/make_api.py"


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_its_lines_restore_and_train(tmp_path, kind):
    restoring, training = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    rng = np.random.default_rng(0)
    stack = rng.poisson(30, (2, 48, 40)).astype(np.uint16)
    names = {"stack": stack if kind == "numpy" else da.from_array(stack, chunks=(1, 48, 40))}
    exec(restoring, names)
    assert names["restored"].shape == stack.shape
    assert names["restored"].std() < stack.std()
    high = rng.uniform(0, 100, (160, 96))
    names |= {"low": high + rng.normal(0, 20, high.shape), "high": high, "path": tmp_path / "mine.safetensors"}
    exec(training, names)
    assert load_model(tmp_path / "mine.safetensors").card.training["steps"] == 20
