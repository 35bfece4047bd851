"""Sets of several files in the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
import pytest
from fixtures.acquisitions import (
    PIXEL_SIZE,
    TIME_STEP,
    Z_STEP,
    acquired,
    write_bruker,
    write_micro_manager_files,
    write_mmstack,
)
from napari.components import ViewerModel

from napari_care_losses.plugin.reader import get_reader

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Image

PIXELS = acquired(3, 2, 2)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    return said


def opened(*paths: Path, **options: Any) -> list[Image]:
    viewer = ViewerModel()
    viewer.open([str(path) for path in paths], plugin="napari-care-losses", **options)
    return list(viewer.layers)


def check(layers: list[Image], name: str) -> None:
    assert [layer.name for layer in layers] == [f"{name} Red", f"{name} Green"]
    for channel, layer in enumerate(layers):
        assert isinstance(layer.data, dask.array.Array)
        np.testing.assert_array_equal(layer.data, PIXELS[:, :, channel])
        assert layer.scale == pytest.approx([TIME_STEP, Z_STEP, PIXEL_SIZE, PIXEL_SIZE])
        assert layer.axis_labels == ("t", "z", "y", "x")


@pytest.mark.usefixtures("plugin")
class TestSets:
    def test_a_file_a_folder_and_all_files_are_the_whole_set(self, tmp_path: Path, said: list[str]) -> None:
        files = write_bruker(tmp_path / "in", PIXELS)
        name = "TSeries-01012024-1200-001"
        check(opened(files[5]), name)
        check(opened(tmp_path / "in"), name)
        check(opened(*files, stack=True), name)
        assert said == []

    def test_positions_of_micro_manager_are_layers(self, tmp_path: Path) -> None:
        for number in range(2):
            write_micro_manager_files(tmp_path / "cells", PIXELS[:, :1, :1], f"Pos{number}")
        assert [layer.name for layer in opened(tmp_path / "cells")] == ["cells_Pos0", "cells_Pos1"]
        check(opened(write_mmstack(tmp_path / "stack", [PIXELS], per_file=5)[1]), "cells_1_MMStack_1")

    def test_missing_planes_are_left_out_and_said(self, tmp_path: Path, said: list[str]) -> None:
        files = write_micro_manager_files(tmp_path, PIXELS)
        files[-1].unlink()
        layers = opened(files[0])
        for channel, layer in enumerate(layers):
            np.testing.assert_array_equal(layer.data, PIXELS[:2, :, channel])
        assert len(said) == 1
        assert "1 of 12 frames are missing" in said[0]

    def test_a_folder_without_sets_is_left_to_others(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(b"II*\0")
        assert get_reader(str(tmp_path)) is None
