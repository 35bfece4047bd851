"""Fixtures for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def model_library(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that stands in for the user's model library."""
    folder = tmp_path_factory.mktemp("library")
    monkeypatch.setenv("NAPARI_CARE_LOSSES_LIBRARY", str(folder))
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real images that may lie beside a clone; skip the test where there is none."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real images are not here: they belong into ../shared/data, beside the project's folder")
    return folder
