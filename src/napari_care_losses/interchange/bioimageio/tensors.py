"""Input and result of a bioimage.io package's network: axes, sizes, halo, processing (descriptions 0.4 and 0.5).

Statements that cannot be followed here are refused by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

from napari_care_losses.errors import ModelFileError
from napari_care_losses.images.normalization import FixedLevels, Normalization
from napari_care_losses.interchange.bioimageio.processing import FLOATS, Preprocessing

TOLERANCE = 1e-3
"""Largest difference from a package's result for its test image, relative to the range of that."""

_KINDS_OF_AXES = {"batch": "b", "channel": "c", "index": "i", "time": "t"}


@dataclass(frozen=True)
class Interface:
    """Form of a network's input and result; axes are one letter each."""

    axes_in: str
    axes_out: str
    sizes: tuple[tuple[int, int], tuple[int, int]]
    """Least size that it takes along y and x, and the step, 0 for a fixed size."""
    halo: int
    """Declared distance from the edges of a tile within which its result is wrong."""
    preprocessing: Preprocessing
    is_undone: bool
    """Whether the package scales the result back to grey levels."""
    test_input: Any
    """Entry of the package's test tensor in its description."""
    test_output: Any

    @property
    def normalization(self) -> Normalization:
        """What becomes 0 and 1."""
        return self.preprocessing.normalization or FixedLevels(low=0.0, high=1.0)

    def square_sizes(self) -> tuple[int, int, int]:
        """Return step, smallest and only size (0 for any) along y and x; refuse networks that take no square images."""
        (least_y, step_y), (least_x, step_x) = self.sizes
        if step_y and step_x:
            step = math.lcm(step_y, step_x)
            smallest = max(least_y, least_x)
            if smallest % step_y != least_y % step_y or smallest % step_x != least_x % step_x or step > 4096:
                raise ModelFileError(f"The network takes no square images: y {self.sizes[0]}, x {self.sizes[1]}.")
            return step, smallest, 0
        if step_y or step_x or least_y != least_x:
            raise ModelFileError(
                f"The network takes images of {least_y} x {least_x} px: only square ones can be imported."
            )
        # the description does not give the block: the trial finds it
        return 1, 1, least_y


def read_interface(described: dict[str, Any]) -> Interface:
    """Return the interface from a description; raises `ModelFileError` if it demands what cannot be done here."""
    entering, leaving = (_only(described, name) for name in ("inputs", "outputs"))
    axes_in, axes_out = _axes(entering), _axes(leaving)
    _check_result(entering, leaving, axes_out)
    preprocessing = Preprocessing(entering)
    is_new = isinstance(entering.get("axes"), list)
    return Interface(
        axes_in=axes_in,
        axes_out=axes_out,
        sizes=_sizes(entering, axes_in),
        halo=_halo(leaving, axes_out),
        preprocessing=preprocessing,
        is_undone=preprocessing.is_undone(leaving),
        test_input=_test(entering.get("test_tensor") if is_new else described.get("test_inputs")),
        test_output=_test(leaving.get("test_tensor") if is_new else described.get("test_outputs")),
    )


def _only(described: dict[str, Any], name: str) -> dict[str, Any]:
    found = described.get(name)
    if not isinstance(found, list) or not all(isinstance(tensor, dict) for tensor in found):
        raise ModelFileError(f"The package's description is damaged: it has no list of {name}.")
    if len(found) != 1:
        raise ModelFileError(f"The network has {len(found)} {name}: only those with 1 can be imported.")
    only: dict[str, Any] = found[0]
    return only


def _axes(tensor: dict[str, Any]) -> str:
    """Return the axes of a tensor, one letter each."""
    found = tensor.get("axes")
    if isinstance(found, list) and all(isinstance(axis, dict) for axis in found):
        letters = [_KINDS_OF_AXES.get(str(axis.get("type")), str(axis.get("id"))) for axis in found]
    else:
        letters = list(found) if isinstance(found, str) else []
    axes = "".join(letters)
    if not {"y", "x"} <= set(letters) or len(set(letters)) != len(letters) or len(axes) != len(letters):
        raise ModelFileError(f"The network has axes {shortened(letters)}: expected y and x among them, each once.")
    unknown = [letter for letter in letters if letter not in "bcyx"]
    if unknown:
        raise ModelFileError(
            f"The network has axes {axes!r}: only 2D ones, of batch, channel, y and x, can be imported."
        )
    return axes


def _sizes(tensor: dict[str, Any], axes: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return least size and step along y and x; there must be one channel."""
    allowed = {axis: _size(tensor, axes, place) for place, axis in enumerate(axes)}
    channels = allowed.get("c", (1, 0))
    if channels != (1, 0):
        raise ModelFileError("The network takes several channels: only those of 1 can be imported.")
    return allowed["y"], allowed["x"]


def _size(tensor: dict[str, Any], axes: str, place: int) -> tuple[int, int]:
    """Return the least size along an axis and the step, 0 for a fixed size."""
    if isinstance(tensor.get("axes"), list):
        axis = tensor["axes"][place]
        if axes[place] == "c":
            names = axis.get("channel_names")
            return (len(names) if isinstance(names, list) else _whole(axis.get("size"))), 0
        if axes[place] == "b":
            return 1, 0
        size = axis.get("size")
        least, step = (size.get("min"), size.get("step")) if isinstance(size, dict) else (size, 0)
    else:
        shape = tensor.get("shape")
        least, step = (shape.get("min"), shape.get("step")) if isinstance(shape, dict) else (shape, [0] * len(axes))
        least, step = (one[place] if isinstance(one, list) and len(one) == len(axes) else None for one in (least, step))
    return _whole(least), _whole(step, least=0)


def _whole(value: Any, *, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 16384:
        raise ModelFileError(f"The network takes images of a size that is not understood: {shortened(value)}.")
    return value


def _check_result(entering: dict[str, Any], leaving: dict[str, Any], axes: str) -> None:
    """Refuse results of another size than the input, as far as described; the trial finds the rest."""
    kind = leaving.get("data", {}).get("type") if isinstance(leaving.get("data"), dict) else leaving.get("data_type")
    if kind is not None and kind not in FLOATS:
        raise ModelFileError(f"The network gives pixels of type {shortened(kind)}: a restored image is of float32.")
    for place, axis in enumerate(axes):
        if isinstance(leaving.get("axes"), list):
            found = leaving["axes"][place]
            size, scale = found.get("size"), found.get("scale", 1)
            its = size if isinstance(size, dict) else {}
            names = found.get("channel_names")
            is_alike = scale == 1 and its.get("offset", 0) == 0 and (not isinstance(names, list) or len(names) == 1)
        else:
            shape = leaving.get("shape")
            its = shape if isinstance(shape, dict) else {}
            changes = [_item(its.get(name), place, usual) for name, usual in (("scale", 1), ("offset", 0))]
            is_alike = axis not in "yx" or changes == [1, 0]
        if not is_alike:
            raise ModelFileError(
                f"The network's result differs from its input in size along {axis}: only those that keep the size of "
                "an image, of one channel, can be imported."
            )


def _item(values: Any, place: int, usual: int) -> Any:
    return values[place] if isinstance(values, list) and place < len(values) else usual


def _halo(leaving: dict[str, Any], axes: str) -> int:
    is_new = isinstance(leaving.get("axes"), list)
    places = [place for place, axis in enumerate(axes) if axis in "yx"]
    halos = [leaving["axes"][at].get("halo", 0) if is_new else _item(leaving.get("halo"), at, 0) for at in places]
    return max(_whole(halo, least=0) for halo in halos)


def _test(found: Any) -> Any:
    return found[0] if isinstance(found, list) and len(found) == 1 else found
