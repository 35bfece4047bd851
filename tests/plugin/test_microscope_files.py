"""File > Open opens CZI, LIF and ND2 as layers: lazily, in their place and size, every image and channel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fixtures.microscope_files import write_czi, write_lif, write_nd2

from napari_care_losses.errors import InputError, MissingLibraryError
from napari_care_losses.plugin.reader import get_reader

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = np.random.default_rng(0).integers(0, 4096, (3, 4, 2, 20, 24)).astype(np.uint16)
WRITERS: dict[str, Any] = {
    "czi": lambda path: write_czi(path, [PIXELS]),
    "lif": lambda path: write_lif(path, {"one": ("TZCYX", PIXELS)}),
    "nd2": lambda path: write_nd2(path, PIXELS),
}


def layers(path: Path | list[Path]) -> list[Any]:
    given = str(path) if not isinstance(path, list) else [str(one) for one in path]
    reader = get_reader(given)
    assert reader is not None
    return reader(given)


@pytest.mark.parametrize("kind", WRITERS)
def test_channels_sizes_units_and_colours(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / f"cells.{kind}")
    ((data, options, layer_type),) = layers(tmp_path / f"cells.{kind}")
    assert (data.shape, layer_type, options["channel_axis"]) == (PIXELS.shape, "image", 2)
    np.testing.assert_array_equal(np.asarray(data), PIXELS)
    assert options["name"] == ["cells dye 0", "cells dye 1"]
    assert options["colormap"] == ["#00FF00", "#FF0000"]
    assert options["axis_labels"] == ["t", "z", "y", "x"]
    assert options["units"][1:] == ["um", "um", "um"]
    assert options["scale"][1] == pytest.approx({"czi": 0.3, "lif": 0.5, "nd2": 0.7}[kind])


def test_every_image_of_a_file_is_a_layer(tmp_path: Path) -> None:
    write_lif(tmp_path / "day.lif", {"one": ("TZCYX", PIXELS), "two": ("TYX", PIXELS[:, 0, 0])})
    found = layers(tmp_path / "day.lif")
    assert [data.shape for data, *_ in found] == [PIXELS.shape, (3, 20, 24)]
    assert found[1][1]["name"] == "day two"


def test_several_files_become_one_stack(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.nd2" for number in range(2)]
    for path in paths:
        write_nd2(path, PIXELS[:, 0, 0], "TYX")
    ((data, options, _),) = layers(paths)
    assert data.shape == (2, 3, 20, 24)
    assert options["axis_labels"][0] == "file"


def test_what_cannot_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(InputError, match="cannot be read as CZI"):
        layers(tmp_path / "a.czi")
    write_nd2(tmp_path / "a.nd2", PIXELS)
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(MissingLibraryError, match="pip install"):
        layers(tmp_path / "a.nd2")
