import numpy as np
import pytest
from PIL import Image

from napari_care_losses.comparison.report.panels import LABEL_HEIGHT, save_panels
from napari_care_losses.errors import InputError


def test_panels_stand_in_rows_each_in_its_own_contrast(tmp_path):
    ramp = np.tile(np.linspace(0, 1, 64), (64, 1))
    save_panels(tmp_path / "p.png", {"a": ramp, "b": 1000 * ramp + 5, "c": np.zeros((64, 64))}, columns=2, zoom=2)
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("L"))
    assert picture.shape == (2 * (128 + LABEL_HEIGHT + 6) + 6, 2 * 134 + 6)
    first = picture[6 + LABEL_HEIGHT : 6 + LABEL_HEIGHT + 128, 6:134]
    second = picture[6 + LABEL_HEIGHT : 6 + LABEL_HEIGHT + 128, 140:268]
    np.testing.assert_array_equal(first, second)
    assert (first.min(), first.max()) == (0, 255)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        save_panels(tmp_path / "no" / "p.png", {"a": np.zeros((4, 4))})
