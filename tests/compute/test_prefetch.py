"""Items made ahead in a thread: the same, in order, one ahead and no further, and nothing left behind."""

import threading
from contextlib import closing

import pytest

from napari_care_losses.compute.prefetch import prefetch


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


class Maker:
    """Counts up, and says what was made, where, and whether it was closed."""

    def __init__(self, count, broken_at=None):
        self.count, self.broken_at = count, broken_at
        self.made, self.threads, self.is_closed = [], set(), False
        self.has_made = threading.Condition()

    def items(self):
        try:
            for item in range(self.count):
                if item == self.broken_at:
                    raise ValueError(f"no item {item}")
                with self.has_made:
                    self.made.append(item)
                    self.threads.add(threading.get_ident())
                    self.has_made.notify_all()
                yield item
        finally:
            self.is_closed = True

    def wait_for(self, item):
        with self.has_made:
            return self.has_made.wait_for(lambda: item in self.made, timeout=10)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_all_items_come_in_order(count):
    maker = Maker(count)
    assert list(prefetch(maker.items())) == list(range(count))
    assert maker.is_closed
    assert not threads()


def test_the_next_item_is_made_in_one_other_thread_while_the_last_is_in_use():
    maker = Maker(5)
    with closing(prefetch(maker.items())) as items:
        for item in (0, 1, 2):
            assert next(items) == item
            assert maker.wait_for(item + 1)
            assert maker.made == list(range(item + 2))
            assert len(threads()) == 1
    assert len(maker.threads) == 1
    assert threading.get_ident() not in maker.threads


def test_nothing_is_made_before_the_first_item_is_asked_for():
    maker = Maker(3)
    items = prefetch(maker.items())
    assert not threads()
    items.close()
    assert maker.made == []


def test_closing_waits_for_the_item_being_made_and_closes_the_maker():
    has_begun, may_go_on, log = threading.Event(), threading.Event(), []

    def slow():
        try:
            yield 0
            log.append("begun")
            has_begun.set()
            may_go_on.wait(10)
            log.append("made")
            yield 1
        finally:
            log.append("closed")

    items = prefetch(slow())
    next(items)
    assert has_begun.wait(10)
    timer = threading.Timer(0.05, may_go_on.set)
    timer.start()
    items.close()
    assert log == ["begun", "made", "closed"]
    assert not threads()
    timer.join()


def test_an_error_is_raised_in_place_of_its_item():
    maker = Maker(5, broken_at=2)
    items = prefetch(maker.items())
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="no item 2"):
        next(items)
    assert not threads()
    assert list(items) == []


def test_an_error_of_an_unused_item_is_not_raised():
    maker = Maker(5, broken_at=1)
    items = prefetch(maker.items())
    next(items)
    items.close()
    assert maker.is_closed
    assert not threads()


def test_an_error_of_the_caller_leaves_no_thread():
    with pytest.raises(RuntimeError, match="mine"), closing(prefetch(Maker(5).items())) as items:
        next(items)
        raise RuntimeError("mine")
    assert not threads()
