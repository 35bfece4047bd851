"""How long frames take from the moment they are complete until they are restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable


class Delays:
    """Delays of frames, in seconds.

    Parameters
    ----------
    seconds : iterable of float
        The first ones.

    Examples
    --------
    >>> delays = Delays([0.04, 0.05, 0.3])
    >>> len(delays), delays.median, delays.worst
    (3, 0.05, 0.3)
    >>> print(delays)
    delay 50 ms (95 % within 275 ms, at most 300 ms)
    """

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._seconds = list(seconds)

    def add(self, seconds: float) -> None:
        """Add the delay of a frame."""
        self._seconds.append(seconds)

    def __len__(self) -> int:
        return len(self._seconds)

    @property
    def median(self) -> float:
        """The median; NaN where there is none yet, as the others."""
        return self._percentile(50)

    @property
    def p95(self) -> float:
        """What 95 % do not exceed."""
        return self._percentile(95)

    @property
    def worst(self) -> float:
        """The longest."""
        return self._percentile(100)

    def __str__(self) -> str:
        if not self._seconds:
            return ""
        return f"delay {shown(self.median)} (95 % within {shown(self.p95)}, at most {shown(self.worst)})"

    def _percentile(self, percent: float) -> float:
        return float(np.percentile(self._seconds, percent)) if self._seconds else float("nan")


def shown(seconds: float) -> str:
    """Return a time in words: milliseconds up to one second.

    Examples
    --------
    >>> shown(0.0312), shown(2.25), shown(90.0)
    ('31 ms', '2.2 s', '90 s')
    """
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
