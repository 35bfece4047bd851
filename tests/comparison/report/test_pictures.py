"""The pictures of a report: averaged, cut to the detail, drawn with their marks."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_care_losses.comparison.report.pictures import detail_window, difference_png, grey_png, picture, shrunk
from napari_care_losses.images.regions import Region

RNG = np.random.default_rng(0)


def pixels(address):
    image = Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))
    return np.asarray(image.convert("RGB"))


def test_a_large_frame_is_averaged_and_a_sliver_survives():
    image = RNG.normal(size=(1300, 1920))
    small, factor = shrunk(image)
    assert (small.shape, factor) == ((433, 640), 3)
    assert small[5, 7] == pytest.approx(image[15:18, 21:24].mean())
    assert shrunk(np.ones((2, 5000)))[0].shape == (1, 625)


def test_the_detail_is_where_the_structure_is():
    # a bright cell with smooth edges elsewhere
    image = 300 * gaussian_filter((np.mgrid[:512, :512].sum(axis=0) < 300).astype(float), 15)
    image[300:340, 420:460] = 100 * RNG.normal(size=(40, 40))
    window = detail_window(image)
    assert window.shape == (128, 128)
    assert window.y0 <= 300 and window.y1 >= 340
    assert window.x0 <= 420 and window.x1 >= 460
    assert detail_window(np.ones((80, 90))) is None


def test_grey_levels_and_differences_are_drawn_as_stated():
    image = np.array([[-5.0, 0, 5, 10, 99]])
    assert pixels(grey_png(image, (0, 10)))[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    colours = pixels(difference_png(np.array([[-9.0, -1, 0, 1, 9]]), 1))[0].astype(int)
    assert (colours[0] == colours[1]).all() and (colours[3] == colours[4]).all()
    assert colours[0, 2] > colours[0, 0] and colours[4, 0] > colours[4, 2]
    assert colours[2].min() > 240
    assert pixels(grey_png(np.ones((2, 2)), (1, 1))).tolist() == np.full((2, 2, 3), 128).tolist()


@pytest.mark.parametrize(
    ("width", "pixel_size", "expected"), [(512, 0.108, "10 µm"), (128, 0.108, "2 µm"), (100, 0.01, "200 nm")]
)
def test_the_scale_bar_is_as_long_as_it_says(width, pixel_size, expected):
    drawing = picture("data:,", (width, width), "x", pixel_size=pixel_size)
    assert expected in drawing
    length = float(expected.split()[0]) / (1000 if expected.endswith("nm") else 1)
    bars = [float(found) for found in re.findall(r'width="([\d.]+)" height="[\d.]+" fill="white"', drawing)]
    assert bars == [pytest.approx(length / pixel_size, abs=0.01)]
    assert "µm" not in picture("data:,", (width, width), "x")


def test_marks_lie_at_their_coordinates():
    drawing = picture("data:,", (60, 80), "x", marked=Region(10, 40, 20, 60), line=((1, 2), (3, 4)))
    assert '<rect x="20" y="10" width="40" height="30"' in drawing
    assert '<line x1="2.50" y1="1.50" x2="4.50" y2="3.50"' in drawing
