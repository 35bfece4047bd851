"""Losses of structure: similarity in windows, and edges. The operators are kornia's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from napari_care_losses.losses.base import Loss
from napari_care_losses.parameters import parameter

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from napari_care_losses.models.unet import Prediction

_SSIM_WINDOW = 11


@dataclass(frozen=True, kw_only=True)
class MsSsimL1(Loss):
    r"""Multi-scale structural similarity mixed with the absolute error, the mix of Zhao et al.

    .. math:: L = \alpha L_{MS-SSIM} + (1 - \alpha) G_{\sigma_5} * |t - r|

    with :math:`L_{MS-SSIM}` one minus the luminance at the coarsest scale times contrast and structure at five. The
    scales are Gaussians of sigma 0.5, 1, 2, 4 and 8 px at full resolution, as in Zhao et al., not the pyramid of
    halved images, which needs patches of 161 px. Images are padded with zeros by 16 px.
    Source: Zhao, Gallo, Frosio, Kautz 2017, doi:10.1109/TCI.2016.2644865.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)
    >>> round(MsSsimL1()(Prediction(restored, None), target).item(), 4)
    0.8722
    """

    name = "ms-ssim+l1"
    title = "MS-SSIM + L1"

    alpha: float = parameter(0.84, "MS-SSIM weight", "Share of MS-SSIM; the rest is the absolute error.", low=0, high=1)

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        mixed: Tensor = _ms_ssim(self.alpha, target.dtype, target.device)(prediction.mean, target)
        return mixed


@dataclass(frozen=True, kw_only=True)
class Ssim(Loss):
    r"""One minus the mean structural similarity.

    .. math:: L = 1 - SSIM(r, t)

    with Gaussian weights of sigma 1.5 px in windows of 11 px that reflect at the patch's edge, and a data range of 1.
    Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861; Nguyen, Hagen, Ventura, section "Method".

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)
    >>> round(Ssim()(Prediction(restored, None), target).item(), 4)
    0.9996
    """

    name = "ssim"
    title = "SSIM"

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        from kornia.losses import ssim_loss

        # kornia's loss is half of one minus the similarity
        half: Tensor = ssim_loss(prediction.mean, target, _SSIM_WINDOW)
        return 2 * half


@dataclass(frozen=True, kw_only=True)
class Sobel(Loss):
    r"""Absolute error of the edges that the Sobel operator finds, mixed with that of the pixels.

    .. math:: L = w (|S_x * (t - r)| + |S_y * (t - r)|) + (1 - w) |t - r|

    with the Sobel kernels :math:`S` scaled to give a slope per pixel. Edges alone would leave the brightness free.
    Source: Nguyen, Hagen, Ventura, section "Method", which names the operator but gives no formula.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> restored, target = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    >>> round(Sobel()(Prediction(restored, None), target).item(), 4)
    0.25
    """

    name = "sobel"
    title = "Sobel edges"

    edge_weight: float = parameter(
        0.5, "Edge weight", "Share of the edges; the rest is the absolute error of the pixels.", low=0, high=0.99
    )

    def __call__(self, prediction: Prediction, target: Tensor) -> Tensor:  # noqa: D102
        from kornia.filters import spatial_gradient

        difference = target - prediction.mean
        slopes: Tensor = spatial_gradient(difference)
        edges = slopes.abs().sum(dim=2).mean()
        return self.edge_weight * edges + (1 - self.edge_weight) * difference.abs().mean()


@lru_cache(maxsize=8)
def _ms_ssim(alpha: float, dtype: torch.dtype, device: torch.device) -> Any:
    import torch
    from kornia.losses import MS_SSIMLoss

    # Windows made in validation would be inference tensors, which the next training steps cannot use.
    with torch.inference_mode(mode=False):
        return MS_SSIMLoss(alpha=alpha, compensation=1.0).to(device, dtype)
