"""One line of the table, and the words its numbers are written in."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

CSBDEEP, CAREAMICS = "CSBDeep", "CAREamics"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured, and the target it is held against.

    Attributes
    ----------
    what : str
        The measure.
    ours, peer : str
        The figures as the reader sees them.
    ratio : float, optional
        Ours over the peer's, or over whatever `what` names.
    median_ratio : float, optional
        The same of the medians.
    target : str
        What was aimed at, in words; empty where nothing was.
    reached : bool, optional
        Whether it was; None where there is no target.
    profile : str
        Name of the profile that shows what holds a missed target.
    """

    what: str
    ours: str
    peer: str = ""
    ratio: float | None = None
    median_ratio: float | None = None
    target: str = ""
    reached: bool | None = None
    profile: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return asdict(self)


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return the best (smallest) and the median of repeated times, and all of them."""
    return {"best": min(values), "median": statistics.median(values), "all": list(values)}


def seconds(times: dict[str, Any]) -> str:
    """Write repeated times: the best, and the median in brackets."""
    return f"{times['best']:.3g} s ({times['median']:.3g})"


def rate(times: dict[str, Any], amount: float, unit: str) -> str:
    """Write the rate at which an amount was done: the best, and the median in brackets."""
    return f"{amount / times['best']:.3g} {unit} ({amount / times['median']:.3g})"


def compared(what: str, ours: str, peer: str, slower: Any, faster: Any, **rest: Any) -> Row:
    """Return a row whose ratio is how many times less time `faster` took than `slower`.

    Parameters
    ----------
    slower, faster : dict
        Repeated times, as `summary` gives them.
    rest
        The other attributes of `Row`, and ``least``, the ratio to reach.
    """
    least = rest.pop("least", None)
    ratio, median = (slower[which] / faster[which] for which in ("best", "median"))
    if least is not None:
        rest |= {"target": f"at least {least:g}", "reached": ratio >= least}
    return Row(what=what, ours=ours, peer=peer, ratio=ratio, median_ratio=median, **rest)
