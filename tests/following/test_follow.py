"""Following: the newest first, each frame once, as the whole stack would be restored."""

import threading
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.growing_source import GrowingSource
from fixtures.random_models import TINY, image_of, make_model

from napari_care_losses.errors import InputError, ParameterError, UnreadableError
from napari_care_losses.following import follow as follow_module
from napari_care_losses.following.follow import follow
from napari_care_losses.following.progress import FollowOptions
from napari_care_losses.following.source import Layout
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore

pytestmark = pytest.mark.usefixtures("one_torch_thread")

PARAMETERS = RestorationParameters(engine="torch")
STACK = RestorationParameters(engine="torch", normalization="stack")


def followed(source, model, parameters=PARAMETERS, **options):
    """Return the restored frames by number, in the order in which they were restored, and the last progress."""
    restored, last = {}, None
    for last in follow(source, model, None, parameters, FollowOptions(device="cpu", **options)):
        if last.frame is not None:
            assert last.frame.index not in restored
            np.testing.assert_array_equal(last.original, source.frames[last.frame.index])
            restored[last.frame.index] = last.frame.image
    return restored, last


def test_frames_are_restored_as_those_of_a_stack():
    frames, model = image_of((5, 24, 28)), make_model()
    source = GrowingSource(frames, count=5)
    restored, last = followed(source, model, until=5)
    expected = restore(frames, model, PARAMETERS, device="cpu")
    assert sorted(restored) == [0, 1, 2, 3, 4]
    for number, image in restored.items():
        np.testing.assert_array_equal(image, expected[number])
    assert (last.arrived, last.restored, last.waiting, last.dropped) == (5, 5, 0, 0)


def test_the_newest_frame_comes_first():
    source, model = GrowingSource(image_of((6, 16, 16)), count=4), make_model()
    order = []
    for progress in follow(source, model, None, PARAMETERS, FollowOptions(device="cpu", until=6)):
        if progress.frame is not None:
            order.append(progress.frame.index)
            if len(order) == 1:
                source.push(2)
    # one older frame may have been read while the first was restored
    assert order in ([3, 2, 5, 4, 1, 0], [3, 5, 4, 2, 1, 0])


def test_frames_that_come_have_a_delay_and_those_there_before_have_none():
    source, model = GrowingSource(image_of((4, 16, 16)), count=2), make_model()
    delays = {}
    for progress in follow(source, model, None, PARAMETERS, FollowOptions(device="cpu", until=4)):
        if progress.frame is not None:
            delays[progress.frame.index] = progress.delay
        if progress.restored == 2 and source.count == 2:
            source.push(2)
    assert [delays[0], delays[1]] == [None, None]
    assert min(delays[2], delays[3]) > 0
    assert len(progress.delays) == 2 and progress.delays.worst == max(delays[2], delays[3])


def test_an_incomplete_frame_is_waited_for_and_the_others_are_not():
    source, model = GrowingSource(image_of((4, 16, 16)), count=3), make_model()
    source.push(1, missing=[2])
    order = []
    for progress in follow(source, model, None, PARAMETERS, FollowOptions(device="cpu", until=4)):
        if progress.frame is not None:
            order.append(progress.frame.index)
        if len(order) == 3:
            source.missing.clear()
    assert order == [3, 1, 0, 2]


def test_frames_of_a_live_image_that_were_replaced_are_counted():
    source, model = GrowingSource(image_of((9, 16, 16)), keeps_frames=False, count=1), make_model()
    restored = []
    for progress in follow(source, model, None, PARAMETERS, FollowOptions(device="cpu")):
        if progress.frame is not None:
            restored.append(progress.frame.index)
            source.has_ended = len(restored) == 2
        if progress.restored == 1 and source.count == 1:
            source.push(8)
    assert restored == [0, 8]
    assert (progress.arrived, progress.restored, progress.dropped, progress.waiting) == (9, 2, 7, 0)


@pytest.mark.parametrize("way", ["idle", "source", "enough"])
def test_every_end_restores_what_has_come(way):
    source, model, enough = GrowingSource(image_of((3, 16, 16)), count=3), make_model(), threading.Event()
    options = FollowOptions(device="cpu", idle=0.3 if way == "idle" else None)
    source.has_ended = way == "source"
    numbers = []
    for progress in follow(source, model, None, PARAMETERS, options, enough=enough):
        if progress.frame is not None:
            numbers.append(progress.frame.index)
        if way == "enough":
            enough.set()
    assert sorted(numbers) == [0, 1, 2]


def test_without_a_frame_following_ends_empty():
    source = GrowingSource(image_of((1, 16, 16)))
    assert all(one.frame is None for one in follow(source, make_model(), None, PARAMETERS, FollowOptions(idle=0.05)))


def test_it_can_be_closed_while_nothing_comes_and_leaves_no_thread():
    before = set(threading.enumerate())
    source = GrowingSource(image_of((2, 16, 16)), count=1)
    work = follow(source, make_model(), None, PARAMETERS, FollowOptions(device="cpu"))
    assert any(progress.frame is not None for progress in work)
    next(work)
    work.close()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("neighbours", [2, 4])
def test_neighbours_are_waited_for_and_the_end_is_reflected(neighbours):
    model = make_model(Architecture(kernel_size=3, filters=2, depth=1, neighbours=neighbours))
    frames = image_of((7, 16, 16))
    source, restored = GrowingSource(frames, count=3), {}
    for progress in follow(source, model, None, PARAMETERS, FollowOptions(device="cpu", until=7)):
        if progress.frame is not None:
            assert progress.frame.index + neighbours // 2 < source.count or source.count == 7
            restored[progress.frame.index] = progress.frame.image
        elif source.count < 7:
            source.push(1)
    expected = restore(Frames(frames, "TYX"), model, PARAMETERS, device="cpu")
    assert sorted(restored) == list(range(7))
    for number, image in restored.items():
        np.testing.assert_array_equal(image, expected[number])


def test_channels_and_planes_are_frames_of_a_time_point_and_an_unfinished_one_is_left_out():
    frames, model = image_of((11, 16, 16)), make_model()
    source = GrowingSource(frames, "TCZYX", (2, 2), count=11)
    source.has_ended = True
    restored, last = followed(source, model)
    expected = restore(frames[:8], model, PARAMETERS, device="cpu")
    assert sorted(restored) == list(range(8))
    np.testing.assert_array_equal(np.stack([restored[number] for number in range(8)]), expected)
    assert "last time point is not whole" in last.note


def test_the_range_of_a_stack_is_that_of_the_first_frames_by_channel():
    frames, model = image_of((10, 16, 16)), make_model()
    frames[1::2] *= 10
    frames[8:] *= 3
    source = GrowingSource(frames, "TCYX", (2,), count=10)
    source.has_ended = True
    restored, last = followed(source, model, STACK)
    first = Frames(frames[:6].reshape(3, 2, 16, 16), "TCYX")
    expected = restore(first, model, STACK, device="cpu").reshape(6, 16, 16)
    np.testing.assert_array_equal(np.stack([restored[number] for number in range(6)]), expected)
    assert "The range of grey levels is that of the first 3 time points" in last.note


def test_what_needs_the_whole_stack_is_refused():
    with pytest.raises(ParameterError, match="smoothed over the whole movie"):
        next(
            follow(
                GrowingSource(image_of((1, 8, 8))), make_model(), None, RestorationParameters(normalization="bleaching")
            )
        )
    live = GrowingSource(image_of((1, 8, 8)), keeps_frames=False)
    with pytest.raises(InputError, match="holds its newest frame only"):
        next(follow(live, make_model(Architecture(kernel_size=3, filters=2, depth=1, neighbours=2))))
    with pytest.raises(ParameterError, match="found 0"):
        FollowOptions(until=0)
    with pytest.raises(ParameterError, match="found -1"):
        FollowOptions(idle=-1)


def test_a_frame_that_cannot_be_read_ends_it_with_its_number():
    class Broken(GrowingSource):
        def frame(self, number):
            if number == 1:
                raise OSError("the drive is gone")
            return super().frame(number)

    source = Broken(image_of((2, 16, 16)), count=1)
    work = follow(source, make_model(), None, PARAMETERS, FollowOptions(device="cpu", until=2))
    with pytest.raises(UnreadableError, match=r"Frame 1 cannot be read \(the drive is gone\)"):
        for progress in work:
            if progress.frame is not None:
                source.push(1)


def test_nothing_is_read_twice():
    source = GrowingSource(image_of((8, 16, 16)), count=8)
    source.has_ended = True
    followed(source, make_model(TINY), RestorationParameters(engine="torch", correlated_noise="half"))
    # the noise of small frames is not measured
    assert sorted(source.read) == list(range(8))


def test_a_layout_says_what_does_not_fit():
    with pytest.raises(InputError, match="T first and YX last"):
        Layout(frame_shape=(8, 8), dtype=np.dtype("uint8"), axes="CTYX", inner=(2,))


def test_the_idle_time_counts_from_the_last_frame(monkeypatch):
    seconds, source = count(step=0.05), GrowingSource(image_of((2, 16, 16)), count=1)
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr(follow_module, "time", clock)
    restored, pushed = 0, 0.0
    for progress in follow(source, make_model(), None, PARAMETERS, FollowOptions(device="cpu", idle=10)):
        restored = progress.restored
        if not pushed and clock.monotonic() > 5:
            source.push(1)
            pushed = clock.monotonic()
    assert restored == 2
    assert pushed + 10 <= clock.monotonic() < pushed + 12
