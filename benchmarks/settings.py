"""How much is measured: all of it, or just enough to see that everything runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and repeats.

    Attributes
    ----------
    frame : int
        Width of the frame restored by everyone, in pixels.
    rounds, slow_rounds : int
        How often everyone takes a turn; the second for those only reported.
    stream_width, stream_frames : int
        The stream restored with the small network.
    training_rounds, training_steps : int
        Turns, and steps a turn.
    quality_steps : int
        Steps CSBDeep trains; the time they take is what this project has half of.
    memory_frames : tuple of int
        Lengths of the two stacks whose restoration must take the same memory.
    command_rounds, command_frames : int
        Turns of the command, and frames of the longer of its two inputs.
    widths : dict of str to tuple of int
        Frame widths of the growth plot by preset.
    counts, depths : tuple of int
        Numbers of frames and network depths of the growth plot.
    opening_rounds, widget_rounds : int
        Repeats of importing the package and of opening a widget.
    profiled : int
        Width of the frame the profile is taken on.
    """

    frame: int = 2048
    rounds: int = 3
    slow_rounds: int = 2
    stream_width: int = 512
    stream_frames: int = 60
    training_rounds: int = 5
    training_steps: int = 12
    quality_pairs: int = 60
    quality_steps: int = 800
    memory_frames: tuple[int, int] = (20, 200)
    command_rounds: int = 2
    command_frames: int = 4
    widths: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("lite", (256, 512, 1024, 2048, 4096)),
        ("care", (256, 512, 1024, 2048)),
    )
    counts: tuple[int, ...] = (1, 2, 4, 8, 16)
    depths: tuple[int, ...] = (1, 2, 3, 4)
    opening_rounds: int = 15
    widget_rounds: int = 3
    profiled: int = 1024


QUICK = Settings(
    frame=256,
    rounds=2,
    slow_rounds=1,
    stream_width=128,
    stream_frames=4,
    training_rounds=2,
    training_steps=2,
    quality_pairs=10,
    quality_steps=4,
    memory_frames=(2, 6),
    command_rounds=1,
    command_frames=2,
    widths=(("lite", (128, 256)), ("care", (128, 256))),
    counts=(1, 2),
    depths=(1, 2),
    opening_rounds=2,
    widget_rounds=1,
    profiled=256,
)
"""Proves that everything runs; its figures mean nothing."""
