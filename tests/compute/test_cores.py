from __future__ import annotations

import itertools
import os
import sys
import threading

import pytest

from napari_care_losses.compute.cores import BLOCK, cpu_cores, in_threads, parts


@pytest.mark.parametrize("pixels", [1, BLOCK, BLOCK + 1, 3_000_001])
def test_parts_hold_every_pixel_once(pixels: int) -> None:
    blocks = [range(start, min(start + part.step, pixels)) for part in parts(pixels) for start in part]
    assert blocks[0].start == 0
    assert sum(map(len, blocks)) == pixels
    assert all(before.stop == after.start for before, after in itertools.pairwise(blocks))


@pytest.mark.parametrize("most", [None, 1, 4])
def test_results_are_in_the_order_of_the_items(most: int | None) -> None:
    assert in_threads(lambda item: item**2, range(50), most=most) == [item**2 for item in range(50)]
    assert in_threads(lambda item: item, [], most=most) == []


def test_one_thread_is_the_calling_one() -> None:
    assert in_threads(lambda _: threading.current_thread(), [0, 1], most=1) == [threading.current_thread()] * 2


def test_an_error_of_the_function_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 // item, [1, 0, 1], most=2)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has the priority of the process")
def test_threads_have_the_priority_of_the_calling_one() -> None:
    found: list[int] = []

    def call() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        found.extend(in_threads(lambda _: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), range(4), most=2))

    # a lowered priority cannot be raised again: in a thread that ends
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert found == [19] * 4


def test_a_machine_has_a_core() -> None:
    assert cpu_cores() >= 1
