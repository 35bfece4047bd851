"""The public names, and the examples in the docstrings, which run as they stand."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import napari_care_losses as ncl

ROOT = Path(ncl.__file__).parent
WITH_EXAMPLES = sorted(path for path in ROOT.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


def test_every_public_name_is_there_and_has_a_docstring() -> None:
    assert sorted(ncl.__all__) == ncl.__all__ == dir(ncl)
    for name in set(ncl.__all__) - {"__version__"}:
        value = getattr(ncl, name)
        assert isinstance(value, dict) or inspect.getdoc(value)


@pytest.mark.parametrize("name", sorted(set(ncl.__all__) - {"LOSSES", "METRICS", "__version__"}))
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(ncl, name)) or "")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ncl.nothing  # type: ignore[attr-defined]


def test_importing_the_package_loads_nearly_none_of_it() -> None:
    code = "import json, sys, napari_care_losses; print(json.dumps([n for n in sys.modules if 'care_losses' in n]))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    of_compute = ["napari_care_losses.compute", "napari_care_losses.compute.openmp"]
    assert sorted(json.loads(loaded.stdout)) == ["napari_care_losses", *of_compute, "napari_care_losses.version"]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    module = import_module(".".join(parts).removesuffix(".__init__"))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    # of variables too, whose docstrings doctest itself does not find
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and ">>> " in str(node.value.value):
            text = inspect.cleandoc(node.value.value)
            runner.run(doctest.DocTestParser().get_doctest(text, {**vars(module)}, path.name, str(path), node.lineno))
    assert runner.tries > 0
    assert runner.failures == 0
