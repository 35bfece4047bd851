"""Which frame of a growing source is restored next: the newest that can be, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from napari_care_losses.following.source import Arrived


def _nothing(_: int) -> Iterable[int]:
    return ()


class Backlog:
    """The frames of a growing source that are still to be restored.

    Parameters
    ----------
    done : collection of int
        Frames that are restored already.
    needs : callable
        Gives the numbers of other frames that must be there before a frame can be restored: its neighbours.

    Attributes
    ----------
    count : int
        Number of frames that have come, incomplete ones among them.
    dropped : int
        Number of frames that could no longer be had.

    Examples
    --------
    >>> from napari_care_losses.following.source import Arrived
    >>> backlog = Backlog()
    >>> backlog.look(Arrived(3))
    >>> backlog.take(), backlog.take()
    (2, 1)
    >>> backlog.look(Arrived(4))
    >>> backlog.take(), backlog.take(), backlog.take()
    (3, 0, None)
    """

    def __init__(self, done: Collection[int] = (), *, needs: Callable[[int], Iterable[int]] = _nothing) -> None:
        self._done, self._needs = frozenset(done), needs
        self._ready: list[int] = []
        self._expected: list[int] = []
        self.count = self.dropped = 0

    def look(self, arrived: Arrived, *, is_over: bool = False) -> None:
        """Take note of what a source holds.

        Once it `is_over`, frames wait neither for others nor to be complete, and what is beyond its count is left out.
        """
        expected = [*self._expected, *(n for n in range(self.count, arrived.count) if n not in self._done)]
        self.count = arrived.count if is_over else max(self.count, arrived.count)
        self._expected = []
        for number in expected:
            can_be = is_over or self._is_whole(number, arrived)
            (self._ready if can_be else self._expected).append(number)
        # a frame that was incomplete before newer ones came is older than they are
        self._ready = sorted(number for number in self._ready if number < self.count)
        self.dropped += self._forget_before(arrived.oldest)

    def take(self) -> int | None:
        """Return the newest frame that can be restored now, which will not be returned again; None where none can."""
        return self._ready.pop() if self._ready else None

    def drop(self) -> None:
        """Count a frame that was taken and could no longer be had."""
        self.dropped += 1

    @property
    def waiting(self) -> int:
        """Number of frames that have come and were not taken yet."""
        return len(self._ready) + len(self._expected)

    def _is_whole(self, number: int, arrived: Arrived) -> bool:
        return all(one < self.count and one not in arrived.missing for one in (number, *self._needs(number)))

    def _forget_before(self, oldest: int) -> int:
        before = self.waiting
        if oldest:
            self._ready = [number for number in self._ready if number >= oldest]
            self._expected = [number for number in self._expected if number >= oldest]
        return before - self.waiting
