from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_care_losses.training.progress import Preview
from napari_care_losses.widgets.train.progress.patch_samples import GAP, mosaic
from napari_care_losses.widgets.train.progress.pictures import Picture, PreviewPanels, to_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot
    from qtpy.QtGui import QImage


def grey(image: QImage, y: int, x: int) -> int:
    return image.pixelColor(x, y).red()


def ramp(shape: tuple[int, int] = (40, 50)) -> NDArray[np.float32]:
    return np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape)


def test_grey_levels_follow_the_limits() -> None:
    array = np.array([[-1, 0, 0.5], [1, 2, np.nan]], np.float32)
    image = to_image(array, 0, 1)
    assert (image.height(), image.width()) == (2, 3)
    assert [grey(image, 0, x) for x in range(3)] == [0, 0, 128]
    assert [grey(image, 1, x) for x in range(2)] == [255, 255]
    assert [image.pixelColor(x, 1).alpha() for x in range(3)] == [255, 255, 0]


def test_an_image_without_range_can_be_shown() -> None:
    assert not to_image(np.zeros((3, 4), np.float32), 1, 1).isNull()


def test_all_panels_have_the_limits_of_the_truth(qtbot: QtBot) -> None:
    panels = PreviewPanels()
    qtbot.addWidget(panels)
    assert not panels.isVisibleTo(panels.parentWidget())
    truth = ramp()
    panels.show_preview(Preview(truth * 0.5, truth.copy(), truth, 12.34, 30.06))
    images = {name: picture.image for name, picture in panels.pictures.items()}
    assert grey(images["third"], 20, 25) == grey(images["restored"], 20, 25)
    assert grey(images["low"], 20, 25) == pytest.approx(grey(images["third"], 20, 25) / 2, abs=2)
    assert panels.captions["low"].text() == "Low 12.3 dB"
    assert panels.captions["restored"].text() == "Restored 30.1 dB"
    assert panels.captions["third"].text() == "Ground truth"
    noise = np.random.default_rng(0).normal(0, 0.1, truth.shape).astype(np.float32)
    panels.show_preview(Preview(truth + noise, truth, None, math.nan, 30.6))
    assert [caption.text() for caption in panels.captions.values()] == ["Noisy", "Restored ~31 dB", "Residual"]
    # nothing but noise was removed: it is grey around the middle
    seen = [grey(panels.pictures["third"].image, row, 25) for row in range(40)]
    assert np.mean(seen) == pytest.approx(127.5, abs=25)
    panels.show_preview(Preview(truth + noise, truth, None, math.nan, math.nan))
    assert panels.captions["restored"].text() == "Restored"
    panels.show_preview(None)
    assert all(picture.is_empty for picture in panels.pictures.values())


def test_a_small_panel_shows_the_middle_pixel_by_pixel(qtbot: QtBot) -> None:
    picture = Picture()
    qtbot.addWidget(picture)
    picture.resize(100, 100)
    array = np.zeros((256, 256), np.float32)
    array[128, 128] = 1
    picture.show_array(array)
    seen = picture.grab().toImage()
    ratio = seen.width() / 100
    assert ratio == 1
    assert grey(seen, 50, 50) == 255
    assert grey(seen, 50, 51) == 0


def test_a_wide_panel_magnifies_the_whole(qtbot: QtBot) -> None:
    picture = Picture()
    qtbot.addWidget(picture)
    picture.resize(128, 128)
    array = np.zeros((64, 64), np.float32)
    array[:, 32:] = 1
    picture.show_array(array)
    seen = picture.grab().toImage()
    assert (grey(seen, 64, 4), grey(seen, 64, 124)) == (0, 255)


def test_the_height_follows_the_width(qtbot: QtBot) -> None:
    picture = Picture(magnified=True)
    qtbot.addWidget(picture)
    picture.show_array(np.zeros((20, 40), np.float32))
    assert picture.heightForWidth(300) == 150


def test_each_low_patch_stands_above_its_high_one() -> None:
    low = np.arange(6, dtype=np.float32)[:, None, None] * np.ones((1, 16, 16), np.float32)
    high = low + 100
    shown = mosaic(low, high)
    pitch = 16 + GAP
    assert (shown[0, 0], shown[pitch, 0]) == (0, 100)
    assert (shown[0, pitch], shown[pitch, pitch]) == (1, 101)
    assert (shown[-17 - GAP, 0], shown[-1, 0]) == (4, 104)
    assert np.isnan(shown[16]).all()
