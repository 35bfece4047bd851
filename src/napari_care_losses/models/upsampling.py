"""Upsampling and the convolution after it as one convolution on the coarse grid; without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def upsampled_kernel(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the kernel that does on the coarse grid what `weight` does after nearest-neighbour 2 x 2 upsampling.

    Both offsets 2a - p and 2a - p + 1 of a fine pixel of parity p lie in coarse pixel a, so their weights add up: a
    convolution with k' = (k + 1) / 2 taps a side and four outputs a filter, one for each pixel of the 2 x 2 block,
    in the order of torch's ``pixel_shuffle``::

        conv2d(interpolate(x, scale_factor=2, mode="nearest"), weight, padding=k // 2)
        == pixel_shuffle(conv2d(x, upsampled_kernel(weight), padding=k' // 2), 2)

    where k' is even (k = 3, 7), the right-hand side is one pixel larger on every side. From (O, I, k, k), k odd, to
    (4 O, I, k', k'). For engines without a fast transposed convolution, which `CareNetwork` itself uses.

    Examples
    --------
    >>> import numpy as np
    >>> upsampled_kernel(np.ones((1, 1, 3, 3), np.float32))[0, 0]
    array([[4., 2.],
           [2., 1.]], dtype=float32)
    """
    outputs, inputs, size, _ = weight.shape
    rows = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 0))) + np.pad(weight, ((0, 0), (0, 0), (1, 0), (0, 0)))
    sums = np.pad(rows, ((0, 0), (0, 0), (0, 0), (0, 1))) + np.pad(rows, ((0, 0), (0, 0), (0, 0), (1, 0)))
    rows = np.stack([sums[:, :, 1::2], sums[:, :, 0::2]], axis=1)
    both = np.stack([rows[..., 1::2], rows[..., 0::2]], axis=2)
    return both.reshape(4 * outputs, inputs, (size + 1) // 2, (size + 1) // 2)
