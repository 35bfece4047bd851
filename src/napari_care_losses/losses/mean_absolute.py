"""The mean absolute value of what a linear transform makes of images, with its gradient written out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Linear = Callable[[Tensor], Tensor]


def mean_absolute(images: Tensor, transform: Linear, transposed: Linear, mean: Linear) -> Tensor:
    r"""Return the mean absolute value of a linear transform of images.

    Its gradient is that of the formula,

    .. math:: \nabla_x \frac{1}{N} \sum_i |(A x)_i| = \frac{1}{N} A^H \frac{A x}{|A x|}

    with 0 where :math:`A x` is 0. Written out it costs a transform; derived step by step, torch keeps the steps apart
    and transforms real images as complex ones. It cannot be derived again.

    Parameters
    ----------
    images : Tensor
        Of shape (N, 1, Y, X).
    transform, transposed : callable
        :math:`A`, real or complex, and its conjugate transpose :math:`A^H`.
    mean : callable
        Returns the mean of the absolute values over all N elements of :math:`A x`.

    Examples
    --------
    >>> image = torch.tensor([[[[3.0, -1.0]]]], requires_grad=True)
    >>> doubled = mean_absolute(image, lambda x: 2 * x, lambda y: 2 * y, torch.mean)
    >>> doubled.backward()
    >>> doubled.item(), image.grad.tolist()
    (4.0, [[[[1.0, -1.0]]]])
    """
    value: Tensor = _MeanAbsolute.apply(images, transform, transposed, mean)  # type: ignore[no-untyped-call]
    return value


def mean_modulus(images: Tensor) -> Tensor:
    """Return the mean modulus over all frequencies of the orthonormal Fourier transform of images (N, 1, Y, X).

    Examples
    --------
    >>> mean_modulus(torch.full((1, 1, 4, 4), 0.5)).item()
    0.125
    """
    transform = partial(torch.fft.rfft2, norm="ortho")
    # of the half spectrum; the other half, its conjugate, is what makes the images real
    transposed = partial(torch.fft.irfft2, s=images.shape[-2:], norm="ortho")
    return mean_absolute(images, transform, transposed, partial(mean_over_frequencies, images=images))


def mean_over_frequencies(half: Tensor, images: Tensor) -> Tensor:
    """Return the mean over all frequencies of real values (N, 1, Y, X // 2 + 1) of a half spectrum.

    It is the spectrum of `images` (N, 1, Y, X): columns that stand for their conjugates too count twice.

    Examples
    --------
    >>> image = torch.eye(8)[None, None]
    >>> half = torch.fft.rfft2(image, norm="ortho").abs().square()
    >>> round(mean_over_frequencies(half, image).item(), 4)  # the mean square of the image (Parseval)
    0.125
    """
    columns = half.sum(dim=-2)
    conjugate = columns[..., 1 : (images.shape[-1] + 1) // 2]
    total: Tensor = columns.sum() + conjugate.sum()
    return total / images.numel()


class _MeanAbsolute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, transform: Linear, transposed: Linear, mean: Linear) -> Tensor:
        values = transform(images)
        ctx.save_for_backward(values)
        ctx.transposed, ctx.count = transposed, images.numel()
        return mean(values.abs())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (values,) = ctx.saved_tensors
        return ctx.transposed(values.sgn()) * (gradient / ctx.count), None, None, None
