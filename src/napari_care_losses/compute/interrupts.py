"""The signals by which a terminal interrupts a command."""

from __future__ import annotations

import signal


def interrupts() -> list[signal.Signals]:
    """Return the signal of Ctrl+C, and on Windows that of Ctrl+Break.

    Examples
    --------
    >>> import signal
    >>> from napari_care_losses.compute.interrupts import interrupts
    >>> signal.SIGINT in interrupts()
    True
    """
    return [getattr(signal, name) for name in ("SIGINT", "SIGBREAK") if hasattr(signal, name)]
