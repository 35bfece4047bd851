"""Some frames of a stack, and parts of them: what is named, what is read, and what is said of it."""

import numpy as np
import pytest

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Calibration, Frames, ImageMetadata
from napari_care_losses.images.regions import Region
from napari_care_losses.images.selection import frames_in, only_frames, parse_ranges, part_of


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected A:B, two whole numbers such as 0:60, found ''"),
        ("0:2,", "found ''"),
        ("4", r"found '4' \(frame 4 alone is 4:5\)"),
        ("1:2:3", "found '1:2:3'"),
        ("a:b", "found 'a:b'"),
        ("0:3,2:4", "expected ranges that do not overlap, found '0:3,2:4'"),
    ],
)
def test_what_names_no_ranges_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_ranges(text)


def test_spaces_and_any_order_are_taken():
    assert parse_ranges(" 3:10 , 0:2") == [(3, 10), (0, 2)]


@pytest.mark.parametrize(
    ("shape", "axes", "ranges", "expected"),
    [
        ((5, 8, 8), "TYX", [(3, 5), (0, 1)], (0, 3, 4)),
        ((2, 3, 8, 8), "CZYX", [(1, 2)], (1, 4)),
        ((3, 2, 8, 8), "TZYX", [(0, 1), (2, 3)], (0, 1, 4, 5)),
        ((2, 8, 8), "CYX", [(0, 1)], (0, 1)),
        ((8, 8), "YX", [(0, 1)], (0,)),
    ],
)
def test_ranges_count_along_time_or_planes(shape, axes, ranges, expected):
    frames = Frames(np.arange(np.prod(shape)).reshape(shape), axes)
    assert frames_in(frames, ranges) == expected
    if len(ranges) == 1:
        part = frames.select(*ranges[0])
        assert all(np.array_equal(frames[index], other) for index, other in zip(expected, part, strict=True))


@pytest.mark.parametrize("ranges", [[(4, 6)], [(0, 1), (3, 2)], [(-1, 2)]])
def test_frames_beyond_the_stack_are_refused(ranges):
    with pytest.raises(InputError, match="were asked for, but the stack has 5"):
        frames_in(Frames(np.zeros((5, 8, 8)), "TYX"), ranges)


def test_only_some_frames_know_where_they_lie():
    calibration = Calibration(pixel_size=(0.1, 0.1), z_step=0.5, time_step=2)
    position = {"Z": (7.0, "um"), "Y": (3.0, "um")}
    metadata = ImageMetadata(channels=({"label": "a"}, {"label": "b"}), position=position)
    stack = np.arange(4 * 3 * 2 * 64).reshape(4, 3, 2, 8, 8)
    frames = Frames(stack, "TZCYX", calibration, metadata=metadata)
    indices = [np.ravel_multi_index((time, plane, 1), (4, 3, 2)) for time in (1, 3) for plane in (0, 1)]
    some = only_frames(frames, indices)
    assert np.array_equal(np.stack(list(some)).reshape(some.shape), stack[1::2, :2, 1:])
    assert (some.axes, some.leading_shape) == ("TZCYX", (2, 2, 1))
    assert some.calibration == Calibration(pixel_size=(0.1, 0.1), z_step=0.5)
    assert some.channels == ({"label": "b"},)
    assert some.metadata.position == position
    (shown,) = only_frames(frames, [9])
    assert np.array_equal(shown, stack[1, 1, 1])
    assert "Z" not in only_frames(frames, [9]).metadata.position


def test_frames_of_different_planes_make_no_stack():
    frames = Frames(np.zeros((2, 2, 8, 8)), "TZYX")
    assert only_frames(frames, [0, 3]) is None
    assert only_frames(frames, []) is None
    assert only_frames(Frames(np.ones((8, 8))), [0])[0].all()


def test_a_part_reads_no_more_than_itself():
    class Spy:
        shape, dtype, asked = (4, 8, 8), np.dtype("uint8"), []

        def __getitem__(self, key):
            self.asked.append(key)
            return np.arange(256, dtype=np.uint8).reshape(4, 8, 8)[key]

    spy = Spy()
    metadata = ImageMetadata(position={"Z": (1.0, "um"), "X": (3.0, "um")})
    part = part_of(Frames(spy, "ZYX", metadata=metadata).select(1, 4), Region(2, 4, 1, 4))
    assert part.shape == (3, 2, 3)
    assert part[0].tolist() == [[81, 82, 83], [89, 90, 91]]
    assert spy.asked == [(1, slice(2, 4), slice(1, 4))]
    assert part.metadata.position == {}
