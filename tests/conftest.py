"""Fixtures for every test."""

from __future__ import annotations

import os
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures.cli_runs import TINY, write
from fixtures.windows_files import law_of_windows

from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.restoration.engines.base import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = Path(__file__).resolve().parents[1]

LONGEST = (
    *("torture/test_sections.py", "torture/test_fuzzing.py", "house/test_notebooks.py", "restoration/test_cluster.py"),
    *("house/test_docs.py", "interchange/bioimageio/test_own_packages.py", "widgets/restore/test_adapt.py"),
)
"""Files whose tests take long together: begun first, so that no process ends with one while the others are done."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of ``make test-windows``."""
    parser.addoption("--windows-files", action="store_true", help="refuse what Windows would refuse of files in use")


def pytest_configure(config: pytest.Config) -> None:
    """Let several processes take the files in the order below, not by their number of tests, and share the cores."""
    config.option.loadscopereorder = False
    processes = len(config.getoption("tx", default=None) or [])
    if processes:
        # threads of OpenMP that wait for one without a core spin, and take the cores from all others
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    items.sort(key=lambda item: not item.nodeid.partition("::")[0].endswith(LONGEST))


@pytest.fixture(autouse=True, scope="session")
def files_in_use(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give files the law of Windows where that is asked for."""
    with law_of_windows() if request.config.getoption("--windows-files") else nullcontext():
        yield


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return a function that makes an empty folder, without reading the names of all before, as pytest does."""
    base, numbers = tmp_path_factory.mktemp("folders"), count()

    def make() -> Path:
        folder = base / str(next(numbers))
        folder.mkdir()
        return folder

    return make


@pytest.fixture(autouse=True)
def model_library(new_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that stands in for the user's model library."""
    folder = new_folder()
    monkeypatch.setenv("NAPARI_CARE_LOSSES_LIBRARY", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_remembered_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test see the tile that another one made too large."""
    monkeypatch.setattr(Engine, "_limits", {})


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real images that may lie beside a clone; skip the test where there is none."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images are not here: they belong into ../shared/data, beside the project's folder")
    return folder


@pytest.fixture
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `lite` be a network of a few filters."""
    monkeypatch.setitem(PRESETS, "lite", TINY)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a folder with a pair of stacks of 6 frames, `low.tif` and `high.tif`."""
    rng = np.random.default_rng(0)
    high = rng.integers(100, 1000, (6, 28, 24)).astype(np.uint16)
    write(tmp_path / "high.tif", high)
    write(tmp_path / "low.tif", high // 4 + rng.integers(0, 50, high.shape).astype(np.uint16))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Compute in one thread, quicker where tiles are small, and give torch its threads back after the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
