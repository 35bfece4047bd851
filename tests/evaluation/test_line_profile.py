import numpy as np
import pytest
from skimage.measure import profile_line

from napari_care_losses.errors import InputError
from napari_care_losses.evaluation.line_profile import line_profile

IMAGE = np.random.default_rng(0).gamma(2, 100, (40, 50))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_along_a_row_it_is_the_row(dtype):
    image = IMAGE.astype(dtype)
    distance, intensity = line_profile(image, (7, 3), (7, 30))
    assert distance == pytest.approx(np.arange(28))
    assert intensity == pytest.approx(image[7, 3:31])


def test_backwards_down_a_column_it_is_the_column():
    assert line_profile(IMAGE, (39, 49), (0, 49))[1] == pytest.approx(IMAGE[::-1, 49])


@pytest.mark.parametrize("width", [1, 3, 5])
def test_it_agrees_with_scikit_image_where_steps_are_whole_pixels(width):
    start, stop = (10, 8), (10 + 18, 8 + 24)  # 3:4:5, so 30 px long
    distance, intensity = line_profile(IMAGE, start, stop, width)
    expected = profile_line(IMAGE, start, stop, width, order=1, mode="constant", cval=np.nan)
    assert distance == pytest.approx(np.arange(31))
    assert intensity == pytest.approx(expected)


def test_a_plane_is_read_exactly_anywhere():
    y, x = np.mgrid[:40, :50]
    distance, intensity = line_profile(3 * y + 2 * x + 1.0, (2.3, 4.7), (31.9, 20.1))
    length = np.hypot(29.6, 15.4)
    assert (distance[0], distance[-1]) == pytest.approx((0, length))
    assert 0.9 < distance[1] <= 1
    share = distance / length
    assert intensity == pytest.approx(3 * (2.3 + 29.6 * share) + 2 * (4.7 + 15.4 * share) + 1)


def test_a_wide_line_averages_across_itself():
    image = np.zeros((21, 30))
    image[10] = 6
    assert line_profile(image, (10, 5), (10, 20), 3)[1] == pytest.approx(2)
    # two lines, half a pixel to either side
    assert line_profile(image, (10, 5), (10, 20), 2)[1] == pytest.approx(3)


def test_outside_the_image_there_is_no_intensity():
    distance, intensity = line_profile(IMAGE, (5, -3), (5, 4))
    assert len(distance) == 8
    assert np.isnan(intensity[:3]).all()
    assert intensity[3:] == pytest.approx(IMAGE[5, :5])


def test_a_wide_line_along_the_edge_averages_what_is_there():
    assert line_profile(IMAGE, (0, 5), (0, 20), 3)[1] == pytest.approx(IMAGE[:2, 5:21].mean(axis=0))


def test_a_point_has_the_intensity_of_its_place():
    distance, intensity = line_profile(IMAGE, (4, 5.5), (4, 5.5))
    assert distance == pytest.approx([0])
    assert intensity == pytest.approx([IMAGE[4, 5:7].mean()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGE[None], (0, 0), (1, 1)), r"\(1, 40, 50\)"),
        ((IMAGE.astype(complex), (0, 0), (1, 1)), "complex128"),
        ((IMAGE, (np.nan, 0), (1, 1)), "finite"),
        ((IMAGE, (0, 0), (1, 1), 0), "at least 1 pixel wide"),
    ],
)
def test_images_without_a_profile_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        line_profile(*arguments)
