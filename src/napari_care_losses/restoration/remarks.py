"""What a user should know of the frames of a stack that were restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_care_losses.images.usable_pixels import NO_REPAIRS, Repairs

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
    hot_share: float = 0.0
    """The same as a share of its pixels."""
    dead_lines: int = 0
    """Largest number of dead rows and columns in a frame."""
    has_uneven_lines: bool = False
    """Whether rows or columns of a frame have offsets of their own."""
    repairs: Repairs = NO_REPAIRS
    """What of it was replaced."""
    debris_share: float = 0.0
    """Largest share of a frame's pixels that saturated particles cover, which do not count for its range."""

    @classmethod
    def of(cls, index: int, frame: UsableFrame, *, is_flash: bool) -> Remarks:
        """Return the remarks on one frame."""
        if frame.is_blank:
            return cls(blank=(index,))
        hot = frame.hot_pixels if frame.hot_pixels > HOT_SHARE * frame.pixels.size else 0
        return cls(
            flashes=(index,) if is_flash else (),
            hot_pixels=hot,
            hot_share=hot / frame.pixels.size,
            dead_lines=frame.dead_lines,
            has_uneven_lines=frame.has_uneven_lines,
            repairs=frame.repairs,
            debris_share=0.0 if frame.debris is None else float(frame.debris.mean()),
        )

    def __add__(self, other: Remarks) -> Remarks:
        return Remarks(
            self.blank + other.blank,
            self.flashes + other.flashes,
            max(self.hot_pixels, other.hot_pixels),
            max(self.hot_share, other.hot_share),
            max(self.dead_lines, other.dead_lines),
            self.has_uneven_lines or other.has_uneven_lines,
            max(self.repairs, other.repairs),
            max(self.debris_share, other.debris_share),
        )

    def text(self, note: str = "") -> str:
        """Return the remarks in words, after another note."""
        parts = [note] if note else []
        if self.blank:
            parts.append(f"Left as they are, being blank: {_named(self.blank)}.")
        if self.flashes:
            parts.append(f"Far brighter than the others, and so with a range of their own: {_named(self.flashes)}.")
        most = f"up to {self.hot_pixels} a frame ({100 * self.hot_share:.2g} %)"
        if self.hot_pixels and self.repairs.hot_pixels:
            parts.append(f"Hot pixels were replaced, {most}.")
        elif self.hot_pixels:
            parts.append(
                f"Isolated pixels far above their neighbours, {most}, spoil those around them: replace hot "
                "pixels first."
            )
        if self.debris_share:
            parts.append(
                f"Saturated particles far brighter than the sample, up to {100 * self.debris_share:.2g} % of a frame's "
                "pixels, do not count for its range of grey levels."
            )
        lines = [f"{self.dead_lines} dead rows or columns"] if self.dead_lines else []
        lines += ["offsets of rows or columns"] if self.has_uneven_lines else []
        if lines and self.repairs.lines:
            parts.append(f"Evened out: {' and '.join(lines)}.")
        elif lines:
            parts.append(f"There are {' and '.join(lines)}, which networks take for structure: even out lines first.")
        return " ".join(parts)


def _named(frames: tuple[int, ...]) -> str:
    more = f" and {len(frames) - _NAMED} more" if len(frames) > _NAMED else ""
    return f"frame{'s' if len(frames) > 1 else ''} {', '.join(map(str, sorted(frames)[:_NAMED]))}{more}"
