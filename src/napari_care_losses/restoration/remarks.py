"""What a user should know of the frames of a stack that were restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_care_losses.images.usable_pixels import UsableFrame

HOT_SHARE = 1e-5
"""Share of hot pixels above which a frame is spoilt."""

_NAMED = 8


@dataclass(frozen=True)
class Remarks:
    """Indices of unusual frames; those of several frames are added up.

    Examples
    --------
    >>> print((Remarks(blank=(3,)) + Remarks(blank=(7,))).text())
    Left as they are, being blank: frames 3, 7.
    """

    blank: tuple[int, ...] = ()
    """Without any contrast, or without a value."""
    flashes: tuple[int, ...] = ()
    """Far brighter than the others."""
    hot_pixels: int = 0
    """Largest number of hot pixels in a frame."""
    replaced: bool = False
    """Whether hot pixels were replaced."""

    @classmethod
    def of(cls, index: int, frame: UsableFrame, *, is_flash: bool) -> Remarks:
        """Return the remarks on one frame."""
        if frame.is_blank:
            return cls(blank=(index,))
        hot = frame.hot_pixels if frame.hot_pixels > HOT_SHARE * frame.pixels.size else 0
        return cls((), (index,) if is_flash else (), hot, frame.is_replaced)

    def __add__(self, other: Remarks) -> Remarks:
        hot = max(self.hot_pixels, other.hot_pixels)
        return Remarks(self.blank + other.blank, self.flashes + other.flashes, hot, self.replaced or other.replaced)

    def text(self, note: str = "") -> str:
        """Return the remarks in words, after another note."""
        parts = [note] if note else []
        if self.blank:
            parts.append(f"Left as they are, being blank: {_named(self.blank)}.")
        if self.flashes:
            parts.append(f"Far brighter than the others, and so with a range of their own: {_named(self.flashes)}.")
        if self.hot_pixels and self.replaced:
            parts.append(f"Hot pixels were replaced, at most {self.hot_pixels} in a frame.")
        elif self.hot_pixels:
            parts.append(
                f"Isolated pixels far above their neighbours, at most {self.hot_pixels} in a frame, spoil those around "
                "them: replace hot pixels first."
            )
        return " ".join(parts)


def _named(frames: tuple[int, ...]) -> str:
    more = f" and {len(frames) - _NAMED} more" if len(frames) > _NAMED else ""
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(map(str, sorted(frames)[:_NAMED]))}{more}"
