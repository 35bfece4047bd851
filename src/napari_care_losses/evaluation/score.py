"""What a score is called, what it means and how its values are written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Score:
    """Title, unit, explanation and decimals of a score; tables, reports and forms read them here."""

    title: str
    unit: str = ""
    digits: int = 4
    help: str
    higher_is_better: bool | None = True
    """Whether a larger value means a better restoration; None where neither is better."""

    @property
    def label(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float, *, is_short: bool = False) -> str:
        """Return a value as tables show it, a dash for NaN; `is_short` has three decimals at most."""
        if math.isnan(value):
            return "\u2013"
        if math.isinf(value):
            return "\u221e" if value > 0 else "\u2212\u221e"
        return f"{value:.{min(self.digits, 3) if is_short else self.digits}f}".replace("-", "\u2212")

    def signed(self, value: float, *, is_short: bool = False) -> str:
        """Return a difference as `text`, with a plus where it is above 0."""
        return ("+" if value > 0 else "") + self.text(value, is_short=is_short)

    def with_unit(self, value: float, *, is_short: bool = False) -> str:
        """Return a value as `text`, followed by its unit."""
        return f"{self.text(value, is_short=is_short)} {self.unit}".rstrip()

    def best(self, values: Mapping[str, float]) -> set[str]:
        """Return the names of the best values; empty for fewer than two values or where neither is better."""
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        if len(known) < 2 or self.higher_is_better is None:
            return set()
        best = (max if self.higher_is_better else min)(known.values())
        return {name for name, value in known.items() if value == best}
