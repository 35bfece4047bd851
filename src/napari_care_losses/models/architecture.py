"""The shape of a CARE network, known without torch: its layers, presets, block size and margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from napari_care_losses.errors import ParameterError
from napari_care_losses.parameters import Parameters, parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IMAGE = "image"
"""Name of the network's input in the plan of its layers."""

PLAIN, POOLING, MERGING, BLENDING, HEAD = "plain", "pooling", "merging", "blending", "head"
PACKING, UNPACKING = "packing", "unpacking"
"""Kinds of layers, by what happens around the convolution.

All are followed by a ReLU but the heads. A pooling layer first takes the maximum of every 2 x 2 pixels of its source; a
merging layer first doubles its source by repeating pixels, a blending one by bilinear interpolation, and both append
the channels of their skip. A packing layer first makes channels of every 2 x 2 pixels, in the order of torch's
``pixel_unshuffle``; an unpacking one makes pixels of every four channels (``pixel_shuffle``) and appends its skip.
"""

NEAREST, BILINEAR = "nearest", "bilinear"
"""Ways of doubling coarse features: CSBDeep's, and that of networks of other tools."""

MOST_NEIGHBOURS = 6
"""Most frames around a frame that a network reads too."""

SCALE_FLOOR = 1e-3
"""Smallest Laplace scale the probabilistic head can give (CSBDeep's epsilon), in normalised units."""

REFINING_SIZE = 3
"""Width in pixels of the kernels at full resolution that refine what a network at half resolution gives."""

Value = TypeVar("Value")


class Layer(NamedTuple):
    """A convolution of the network with zero "same" padding, and what it reads."""

    name: str
    """Its weights are called ``name.weight`` and ``name.bias``."""
    kind: str
    """`PLAIN`, `POOLING`, `MERGING`, `BLENDING`, `PACKING`, `UNPACKING` or `HEAD`."""
    channels_in: int
    """Number of channels that it reads, those of the skip included."""
    channels_out: int
    kernel_size: int
    """Width of the kernel in pixels, odd."""
    source: str
    """Name of the layer it reads, or `IMAGE`."""
    skip: str = ""
    """Name of the layer (or `IMAGE`) whose channels are appended to the source's, where the kind appends some."""
    skip_channels: int = 0


_NOT_SET = {"upsampling": NEAREST, "neighbours": 0, "is_blind": False, "refinement": 0}


class Local(Protocol):
    """Whatever computes pixels from pixels near them; what is needed to cut images into tiles for it."""

    @property
    def block(self) -> int: ...  # noqa: D102 - see `Architecture`
    @property
    def margin(self) -> int: ...  # noqa: D102


class Tileable(Local, Protocol):
    """Besides, what is needed to choose the size of the tiles."""

    @property
    def memory_per_pixel(self) -> int: ...  # noqa: D102 - see `Architecture`
    @property
    def cost_per_pixel(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class Architecture(Parameters):
    """Size and heads of a CARE network (`napari_care_losses.models.unet.CareNetwork`).

    Examples
    --------
    >>> architecture = Architecture(depth=1, kernel_size=3, filters=4)
    >>> architecture.block, architecture.margin
    (2, 10)
    >>> for layer in architecture.layers():
    ...     print(layer.name, layer.kind, layer.channels_in, layer.channels_out)
    down.0.0 plain 1 4
    down.0.1 plain 4 4
    middle.0 pooling 4 8
    middle.1 plain 8 4
    up.0.0 merging 8 4
    up.0.1 plain 4 4
    mean head 4 1
    """

    depth: int = parameter(2, "Depth", "Number of times the image is halved.", low=1, high=6)
    kernel_size: int = parameter(
        5, "Kernel size", "Width of every convolution, an odd number.", unit="px", low=1, high=15
    )
    filters: int = parameter(32, "First filters", "Filters of the first convolution.", low=1, high=256)
    residual: bool = parameter(True, "Residual", "Whether the input is added to the output.")
    predicts_scale: bool = parameter(False, "Predicts scale", "Whether a second head gives the Laplace scale.")
    upsampling: str = parameter(
        NEAREST,
        "Upsampling",
        "How coarse features are doubled. nearest: pixels are repeated, as in CSBDeep. bilinear: they are "
        "interpolated, as in CAREamics.",
        choices=(NEAREST, BILINEAR),
    )
    neighbours: int = parameter(
        0,
        "Neighbouring frames",
        "Number of frames around the frame that are read too, half of them before it.",
        low=0,
        high=MOST_NEIGHBOURS,
    )
    is_blind: bool = parameter(
        False,
        "Blind",
        "Whether the frame itself is not seen: the mean of the two nearest neighbours takes its place.",
    )
    refinement: int = parameter(
        0,
        "Refinement",
        "0: the network runs at full resolution. Otherwise it runs at half resolution, a quarter of the work, and so "
        "many filters at full resolution bring back what is finer.",
        low=0,
        high=64,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.refinement % 2:
            raise ParameterError(f"refinement must be even, found {self.refinement}.")
        if self.kernel_size % 2 == 0:
            raise ParameterError(f"kernel_size must be odd, found {self.kernel_size}.")
        if self.neighbours % 2:
            raise ParameterError(f"neighbours must be even, as many before as after, found {self.neighbours}.")
        if self.is_blind and not self.neighbours:
            raise ParameterError("A network that does not see the frame itself needs neighbours, found none.")

    def to_dict(self) -> dict[str, Any]:
        """Return the values; of what CSBDeep does not have, those that are set: files of earlier versions have none."""
        return {name: value for name, value in super().to_dict().items() if (name, value) not in _NOT_SET.items()}

    @property
    def channels_in(self) -> int:
        """Number of channels of the input: the frame and its neighbours, from the first to the last."""
        return 1 + self.neighbours

    @property
    def own_channel(self) -> int:
        """The channel of the frame itself, in the middle."""
        return self.neighbours // 2

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers in the order in which they compute: the one plan that all implementations follow.

        `run_layers` runs it.
        """
        made: list[Layer] = []
        at_full = Layer(IMAGE, PLAIN, 0, self.channels_in, 1, "")

        def add(name: str, channels: int, kind: str = PLAIN, skip: Layer | None = None, size: int = 0) -> Layer:
            source = made[-1] if made else at_full
            # of four pixels one, or one of four
            read = {PACKING: 4 * source.channels_out, UNPACKING: source.channels_out // 4}
            read_channels = read.get(kind, source.channels_out)
            joined = (skip.name, skip.channels_out) if skip else ("", 0)
            width = size or self.kernel_size
            made.append(Layer(name, kind, read_channels + joined[1], channels, width, source.name, *joined))
            return made[-1]

        first, skips = PACKING if self.refinement else PLAIN, []
        for level in range(self.depth):
            add(f"down.{level}.0", self.filters << level, POOLING if level else first)
            skips.append(add(f"down.{level}.1", self.filters << level))
        add("middle.0", self.filters << self.depth, POOLING)
        add("middle.1", self.filters << max(0, self.depth - 1))
        for number, level in enumerate(reversed(range(self.depth))):
            kind = MERGING if self.upsampling == NEAREST else BLENDING
            add(f"up.{number}.0", self.filters << level, kind, skips.pop())
            add(f"up.{number}.1", self.filters << max(0, level - 1))
        if self.refinement:
            add("features", 2 * self.refinement, size=1)
            add("refined", self.refinement, UNPACKING, at_full, REFINING_SIZE)
        last, size = made[-1], REFINING_SIZE if self.refinement else 1
        heads = ("mean", "scale") if self.predicts_scale else ("mean",)
        return (*made, *(Layer(head, HEAD, last.channels_out, 1, size, last.name) for head in heads))

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the weights by name, in the order of the layers, as torch stores them."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers():
            size = layer.kernel_size
            shapes[f"{layer.name}.weight"] = (layer.channels_out, layer.channels_in, size, size)
            shapes[f"{layer.name}.bias"] = (layer.channels_out,)
        return shapes

    @property
    def block(self) -> int:
        """Number of pixels that image sizes and tile positions must be multiples of."""
        return self._scale << self.depth

    @property
    def _scale(self) -> int:
        """Width in pixels of those that the U-Net computes."""
        return 2 if self.refinement else 1

    @property
    def memory_per_pixel(self) -> int:
        """Bytes of working memory for every pixel of a tile: measured, 13 to 19 a first filter on every engine."""
        return 20 * self.filters // self._scale**2 + 8 * self.neighbours + 20 * self.refinement

    @property
    def step_memory_per_pixel(self) -> int:
        """Bytes of a training step for every pixel of its patches: measured, 55 to 63 a first filter on CPUs."""
        return 60 * self.filters // self._scale**2 + 60 * self.refinement

    @property
    def cost_per_pixel(self) -> float:
        """Multiply-adds for every pixel, up to a factor.

        Every halving quarters the pixels and doubles the filters, so that every level costs the same.
        """
        at_full = self.refinement * (self.refinement // 2 + 2) * REFINING_SIZE**2 / 6
        return (self.filters * self.kernel_size) ** 2 * (self.depth + 1) / self._scale**2 + at_full

    @property
    def margin(self) -> int:
        """Distance in pixels from which an input pixel can still reach an output pixel, rounded up to `block`.

        A tile restored with this margin on every side equals the whole image. The reach is that of two convolutions a
        level, twice where the path goes down and up again, plus what pooling to the coarser grid adds, twice where it
        is interpolated from; ``tests/models/test_unet.py`` measures it.
        """
        radius, coarsest = self.kernel_size // 2, 1 << self.depth
        convolutions = sum(2 * 2 * (radius << level) for level in range(self.depth)) + 2 * radius * coarsest
        reach = convolutions + (1 if self.upsampling == NEAREST else 2) * (coarsest - 1)
        if self.refinement:
            reach = 2 * reach + 1 + 2 * (REFINING_SIZE // 2)
        return -(-reach // self.block) * self.block


def run_layers(
    layers: Iterable[Layer], image: Value, apply: Callable[[Layer, Value, Value | None], Value]
) -> dict[str, Value]:
    """Run a network on an image, in the form of any library; return the results of the heads by name.

    `apply` takes a layer, its source's result and, for merging layers, its skip's; it returns the layer's result.
    Results that no later layer reads are dropped at once.
    """
    layers = tuple(layers)
    last_reader = {name: layer for layer in layers for name in (layer.source, layer.skip)}
    results = {IMAGE: image}
    for layer in layers:
        results[layer.name] = apply(layer, results[layer.source], results.get(layer.skip))
        for name in (layer.source, layer.skip):
            if last_reader[name] is layer:
                results.pop(name, None)
    return results


PRESETS: dict[str, Architecture] = {
    "care": Architecture(),
    "lite": Architecture(kernel_size=3, filters=16),
    "deep": Architecture(kernel_size=3, filters=16, depth=3),
    "live": Architecture(kernel_size=3, filters=16, refinement=8),
}
"""Named sizes: ``care`` is CSBDeep's default. Per pixel, ``lite`` computes an eleventh of it; ``deep`` an eighth, with
twice the receptive field of ``lite``; ``live`` runs at half resolution and refines at full."""
