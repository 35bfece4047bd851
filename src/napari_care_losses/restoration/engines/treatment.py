"""What is done about noise that neighbouring pixels share, before a network sees the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Treatment:
    """What is done about shared noise, the same for all frames of a stack."""

    halves: bool = False
    """Whether the network sees the image at half resolution."""
    correlation: tuple[tuple[float, ...], ...] | None = None
    """The correlation of the noise at lags (y, x), where the network sees the image decorrelated."""
    note: str = ""
    """What was measured and done, for the user; empty where there is nothing to say."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells jobs apart; empty where nothing is done."""
        if self.halves:
            return {"half_resolution": True}
        return {} if self.correlation is None else {"correlated_noise": "decorrelated"}
