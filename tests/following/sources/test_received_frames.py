"""Frames that others hand over: the newest of a live image, all of a sequence."""

import threading
import time

import numpy as np
import pytest

from napari_care_losses.following.source import FrameGoneError
from napari_care_losses.following.sources.received_frames import REACH, LiveFrames, SequenceFrames


def frame(number, shape=(4, 6), dtype=np.uint16):
    return np.full(shape, number, dtype)


def test_of_a_live_image_only_the_newest_frame_is_there():
    live = LiveFrames("preview")
    assert live.layout is None
    assert live.poll().count == 0
    before = time.monotonic()
    live.put(frame(1), exposure_ms=5)
    live.put(frame(2), exposure_ms=7, missed=3)
    arrived = live.poll()
    assert (arrived.count, arrived.oldest) == (5, 4), "those that were missed count"
    assert live.layout.frame_shape == (4, 6)
    assert (live.frame(4) == 2).all()
    assert (live.exposure(0), live.exposure(4), live.exposure(2)) == (5, 7, None)
    assert before <= live.arrival(4) <= time.monotonic()
    with pytest.raises(FrameGoneError, match="replaced"):
        live.frame(3)
    live.put(frame(3))
    assert (live.frame(4) == 2).all(), "what was seen last stays until the next look"
    live.poll()
    assert (live.frame(5) == 3).all()
    live.close()
    assert live.poll().has_ended


def test_a_frame_that_is_written_into_later_is_the_one_that_came():
    pixels = frame(1)
    for source in (LiveFrames("live"), SequenceFrames("sequence")):
        pixels[:] = 1
        source.put(*(() if isinstance(source, LiveFrames) else (0,)), pixels)
        source.poll()
        pixels[:] = 9
        assert (source.frame(0) == 1).all()


@pytest.mark.parametrize("other", [frame(1, (5, 6)), frame(1, dtype=np.uint8)], ids=["size", "type"])
def test_frames_of_another_kind_end_it_and_say_so(other):
    live = LiveFrames("preview")
    live.put(frame(1))
    live.put(other)
    arrived = live.poll()
    assert arrived.has_ended
    assert live.is_changed
    assert "4 x 6 px, uint16" in arrived.note
    assert arrived.count == 1, "the other frame does not count"
    live.put(frame(2))
    assert live.poll().count == 1, "nothing comes after the end"


def test_a_colour_image_is_refused_with_its_shape():
    live = LiveFrames("preview")
    live.put(np.zeros((4, 6, 3), np.uint8))
    arrived = live.poll()
    assert arrived.has_ended
    assert not live.is_changed, "to begin anew would not help"
    assert "(4, 6, 3)" in arrived.note


def test_waiting_ends_as_soon_as_a_frame_comes():
    live = LiveFrames("preview")
    timer = threading.Timer(0.05, live.put, [frame(1)])
    timer.start()
    begun = time.monotonic()
    live.wait(60)
    assert time.monotonic() - begun < 30
    assert live.poll().count == 1
    timer.join()


def test_a_sequence_keeps_all_frames_until_they_are_restored():
    sequence = SequenceFrames("time-lapse", most_bytes=10**6)
    for number in range(40):
        sequence.put(number, frame(number), exposure_ms=number + 1)
    for number in reversed(range(40)):
        assert (sequence.frame(number) == number).all()
    assert (sequence.frame(0) == 0).all(), "what was only read may be asked for again"
    for number in reversed(range(10, 40)):
        sequence.done(number)
    with pytest.raises(FrameGoneError):
        sequence.frame(30)
    for number in (*range(9, 10 + REACH), 39):
        sequence.frame(number)  # a neighbour of one that is not restored, or has not come
    assert sequence.poll().oldest == 0
    assert sequence.exposure(30) == 31


def test_frames_in_another_order_are_missing_until_they_come():
    sequence = SequenceFrames("z-stacks")
    for number in (0, 3, 1):
        sequence.put(number, frame(number), axes="TZYX", inner=(2,))
    assert sequence.poll().missing == {2}
    assert sequence.layout.shape(2) == (2, 2, 4, 6)
    sequence.put(2, frame(2))
    sequence.put(2, frame(7))
    assert sequence.poll().missing == frozenset()
    assert (sequence.frame(2) == 2).all(), "a frame comes once"


def test_where_memory_is_full_the_oldest_go_and_are_counted_by_what_follows():
    size = frame(0).nbytes
    sequence = SequenceFrames("time-lapse", most_bytes=5 * size)
    for number in range(5):
        sequence.put(number, frame(number))
    sequence.done(4)
    sequence.put(5, frame(5))
    assert sequence.poll().oldest == 0, "one that is restored went first"
    sequence.put(6, frame(6))
    sequence.put(7, frame(7))
    arrived = sequence.poll()
    assert (arrived.count, arrived.oldest) == (8, 2)
    for number in (2, 3, 5, 6, 7):
        assert (sequence.frame(number) == number).all()


def test_no_frame_is_lost_of_ten_thousand_that_come_while_others_are_read():
    sequence = SequenceFrames("time-lapse", most_bytes=10**8)
    count = 10_000

    def acquire():
        for number in range(count):
            sequence.put(number, frame(number))
        sequence.end()

    thread = threading.Thread(target=acquire)
    thread.start()
    done = set()
    while len(done) < count:
        arrived = sequence.poll()
        for number in set(range(max(0, arrived.count - 200), arrived.count)) - done or set(range(arrived.count)) - done:
            assert sequence.frame(number)[0, 0] == number
            sequence.done(number)
            done.add(number)
        if not arrived.has_ended:
            sequence.wait(0.01)
    thread.join()
    assert sequence.poll().oldest == 0
    assert not sequence._frames or len(sequence._frames) <= 2 * REACH


def test_a_live_image_that_comes_faster_than_it_is_read_is_followed_all_the_same():
    live, is_over = LiveFrames("preview"), threading.Event()

    def acquire():
        number = 0
        while not is_over.is_set():
            live.put(frame(number % 1000))
            number += 1

    thread = threading.Thread(target=acquire)
    thread.start()
    try:
        for _ in range(20):
            live.wait(60)
            newest = live.poll().count - 1
            time.sleep(0.01)
            assert live.frame(newest)[0, 0] == newest % 1000
            assert live.arrival(newest) is not None
    finally:
        is_over.set()
        thread.join()
