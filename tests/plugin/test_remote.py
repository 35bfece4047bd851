"""napari opens OME-Zarr behind an address, lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.servers import serving

import napari_care_losses as ncl
from napari_care_losses.errors import UnreadableError
from napari_care_losses.io.remote import store
from napari_care_losses.plugin.reader import get_reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari

PIXELS = np.random.default_rng(0).integers(1, 4096, (5, 20, 24)).astype(np.uint16)


def test_a_movie_behind_an_address(tmp_path: Path, make_napari_viewer: Callable[..., napari.Viewer]) -> None:
    ncl.save_stack(tmp_path / "movie.zarr", PIXELS, axes="TYX")
    viewer = make_napari_viewer()
    with serving(tmp_path) as server:
        (layer,) = viewer.open(f"{server.url}/movie.zarr", plugin="napari-care-losses")
        assert (layer.name, layer.data.shape) == ("movie", PIXELS.shape)
        server.asked.clear()
        np.testing.assert_array_equal(np.asarray(layer.data[4]), PIXELS[4])
        assert server.asked == ["movie.zarr/0/c/4/0/0"]


def test_what_a_network_fails_at_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PAUSE", 0.0)
    reader = get_reader("http://127.0.0.1:9/movie.zarr")
    assert reader is not None
    with pytest.raises(UnreadableError, match="cannot be reached"):
        reader("http://127.0.0.1:9/movie.zarr")
