"""How much is measured: all of it, the figures of five minutes, or just enough to see that everything runs."""

from __future__ import annotations

from dataclasses import dataclass

Widths = tuple[tuple[str, tuple[int, ...]], ...]
"""By preset: widths of frames in pixels."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes and repeats.

    Attributes
    ----------
    sections : tuple of str, optional
        The sections measured unless others are asked for; all by default.
    matmul : int
        Width of the matrix product whose rate everything is compared with.
    frame : int
        Width of the frame restored by everyone, in pixels.
    rounds, slow_rounds : int
        How often everyone takes a turn; the second for those only reported.
    stream_width, stream_frames : int
        The stream restored with the small networks.
    training_rounds, training_steps : int
        Turns, and steps of the `care` network a turn; smaller networks take more.
    quality_pairs, quality_steps : int
        Pairs to train on, and steps CSBDeep trains; the time they take is what this project has half of.
    test_pairs : int
        Simulated pairs that the models are scored on where no real ones are given.
    memory_width : int
        Width of the frames of the stacks below.
    memory_frames : tuple of int
        Lengths of the two stacks whose restoration must take the same memory; the longer is restored with neighbouring
        frames too.
    command_rounds, command_frames : int
        Turns of the command, and frames of the longer of its two inputs.
    widths : tuple of (str, tuple of int)
        Frame widths of the growth plot by preset.
    counts, neighbours, worker_frames : tuple of int, tuple of int, int
        Numbers of frames, of neighbouring frames, and length of the stack shared by workers in the growth plot.
    opening_rounds, widget_rounds : int
        Repeats of importing the package and of opening a widget.
    profiled : int
        Width of the frame the profile is taken on.
    """

    sections: tuple[str, ...] = ()
    matmul: int = 2048
    frame: int = 1024
    rounds: int = 3
    slow_rounds: int = 1
    stream_width: int = 512
    stream_frames: int = 40
    training_rounds: int = 4
    training_steps: int = 6
    quality_pairs: int = 60
    quality_steps: int = 150
    test_pairs: int = 5
    memory_width: int = 2048
    memory_frames: tuple[int, int] = (20, 200)
    command_rounds: int = 1
    command_frames: int = 4
    widths: Widths = (
        ("lite", (256, 512, 1024, 2048)),
        ("live", (256, 512, 1024, 2048)),
        ("care", (256, 512, 1024)),
    )
    counts: tuple[int, ...] = (1, 2, 4, 8)
    neighbours: tuple[int, ...] = (0, 2, 4, 6)
    worker_frames: int = 48
    opening_rounds: int = 15
    widget_rounds: int = 3
    profiled: int = 512


QUICK = Settings(
    sections=("prediction", "training", "precision", "memory", "growth", "opening", "profiles"),
    matmul=1024,
    frame=512,
    rounds=2,
    stream_frames=12,
    training_rounds=2,
    training_steps=2,
    test_pairs=2,
    memory_frames=(2, 8),
    widths=(("lite", (256, 512, 1024)), ("live", (256, 512, 1024))),
    counts=(1, 4),
    neighbours=(0, 4),
    worker_frames=24,
    opening_rounds=5,
    widget_rounds=1,
    profiled=256,
)
"""Figures in five minutes: smaller frames, fewer turns, no quality and no command."""

TINY = Settings(
    matmul=256,
    frame=128,
    rounds=2,
    stream_width=128,
    stream_frames=4,
    training_rounds=1,
    training_steps=1,
    quality_pairs=10,
    quality_steps=4,
    test_pairs=1,
    memory_width=256,
    memory_frames=(2, 6),
    command_frames=2,
    widths=(("lite", (64, 128)), ("live", (64, 128))),
    counts=(1, 2),
    neighbours=(0, 2),
    worker_frames=4,
    opening_rounds=2,
    widget_rounds=1,
    profiled=128,
)
"""Proves that everything runs; its figures mean nothing."""
