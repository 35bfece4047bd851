"""LSM files, which are TIFF: their planes, without the previews between them, with sizes, times and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.microscope_files import write_lsm

from napari_care_losses.errors import UnreadableError
from napari_care_losses.io.stacks import is_stack, list_images, read_stack
from napari_care_losses.plugin.reader import get_reader

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 4, 3), "TZCYX"), ((3, 1, 1), "TYX"), ((1, 4, 3), "ZCYX"), ((1, 1, 1), "YX")]
)
def test_planes_sizes_and_times(tmp_path: Path, shape: tuple[int, ...], axes: str) -> None:
    path, pixels = tmp_path / "a.lsm", np.random.default_rng(0).integers(0, 4096, (*shape, 20, 24)).astype(np.uint16)
    write_lsm(path, pixels, voxel=2e-7, interval=2.5)
    frames = read_stack(path)
    assert (frames.axes, list_images(path), is_stack(path)) == (axes, [path], True)
    np.testing.assert_array_equal(np.stack(list(frames)), pixels.reshape(-1, 20, 24))
    assert frames.calibration.pixel_size == pytest.approx((0.2, 0.2))
    assert (frames.calibration.z_step, frames.calibration.time_step) == (pytest.approx(0.6), 2.5)


def test_one_that_is_cut_short_is_not_made_up(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.lsm", np.random.default_rng(0).integers(0, 4096, (3, 1, 1, 20, 24)).astype(np.uint16)
    write_lsm(path, pixels)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(pixels[2].tobytes()) + 100])
    with pytest.raises(UnreadableError, match="cut short"):
        read_stack(path)


def test_the_viewer_opens_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (2, 1, 3, 20, 24)).astype(np.uint16)
    write_lsm(tmp_path / "cells.lsm", pixels)
    reader = get_reader(str(tmp_path / "cells.lsm"))
    assert reader is not None
    ((data, options, _),) = reader(str(tmp_path / "cells.lsm"))
    np.testing.assert_array_equal(np.asarray(data), pixels[:, 0])
    assert options["name"] == [f"cells channel {number}" for number in range(3)]
