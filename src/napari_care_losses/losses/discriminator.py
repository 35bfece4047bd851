"""A discriminator that learns to tell restored from true patches, and the objective with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_care_losses.compute.distributed import Team
from napari_care_losses.compute.optimizer_state import named, pack_moments, unpack_moments
from napari_care_losses.losses.base import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from napari_care_losses.losses.base import Loss
    from napari_care_losses.models.unet import Prediction

BETAS = (0.5, 0.999)
"""Adam's decay rates for the discriminator (Isola et al. 2017)."""

SPREAD = 0.02
"""Standard deviation of the initial weights (Isola et al. 2017); larger weights learn more slowly here, because the
convolutions are normalised."""

SLOPE = 0.2
"""Slope of the discriminator's leaky ReLU below zero (Isola et al. 2017)."""

LEAST_SQUARE = 1e-24
"""A discriminator's gradient with a smaller squared norm counts as none."""


class Discriminator(nn.Module):
    """Tells, at every 4th pixel, whether the image there is restored (0) or true (1); receptive field 34 px.

    A PatchGAN whose convolutions, but for the first and the last, are normalised over the patch. Spectral
    normalisation in its place cannot tell the small differences between restored and true images. The noisy patch is
    a second input: it shows invented structure and noise that was left. The generator draws the initial weights.

    References
    ----------
    Isola, Zhu, Zhou, Efros 2017, arXiv:1611.07004 (PatchGAN, conditional); Zhu, Park, Isola, Efros 2017,
    arXiv:1703.10593 (with instance normalisation and least squares).
    """

    def __init__(self, filters: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, filters, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            *_normalized(nn.Conv2d(filters, 2 * filters, 4, stride=2, padding=1, bias=False)),
            *_normalized(nn.Conv2d(2 * filters, 4 * filters, 4, padding=1, bias=False)),
            nn.Conv2d(4 * filters, 1, 4, padding=1),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=SPREAD, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, low: Tensor, image: Tensor) -> Tensor:
        """Return the output (N, 1, Y / 4 - 2, X / 4 - 2) for noisy patches and images, both (N, 1, Y, X)."""
        output: Tensor = self.layers(torch.cat([low, image], dim=1))
        return output


class AdversarialObjective(Objective):
    r"""A content loss, and a discriminator whose gradient is added to that of the content loss.

    The losses of generator and discriminator are least squares, which keep a gradient for images far from true ones:

    .. math:: L_G = (D(x, r) - 1)^2, \quad L_D = ((D(x, t) - 1)^2 + D(x, r)^2) / 2

    with noisy :math:`x`, restored :math:`r` and target :math:`t`, means over all outputs. At every step the
    adversarial gradient is scaled to a part of the content gradient, both taken at the restored image,

    .. math:: \nabla_r L = \nabla_r L_{content} + w s |\nabla_r L_{content}| \nabla_r L_G / |\nabla_r L_G|

    so that no discriminator, however steep, outweighs the content loss. The part is the weight :math:`w` times the
    discriminator's skill :math:`s = \overline{D(x, t) - D(x, r)}`, clipped to 0 and 1, on a batch it has not learnt
    from: a discriminator that cannot tell restored from true patches adds nothing. The loss reported is the content
    loss, as in validation.

    Parameters
    ----------
    loss : Loss
        The content loss.
    weight : float
        Largest norm of the adversarial gradient relative to the content gradient.
    filters, learning_rate, seed : int, float, int
        Of the discriminator: its first convolution, its Adam, its initial weights.
    device : torch.device
        Where to compute.
    team : Team, optional
        The processes that train together; a step equals that of one process with the whole batch, and all
        discriminators stay equal.

    References
    ----------
    Mao et al. 2017, arXiv:1611.04076, equation 9 with a = 0, b = c = 1 (least squares); Esser, Rombach, Ommer 2021,
    arXiv:2012.09841, equation 7 (adaptive weight), taken at the output in place of the last layer, as Défossez et al.
    2022, arXiv:2210.13438, section 3.4, do, which makes it independent of the network. The skill is our own.
    """

    def __init__(
        self,
        loss: Loss,
        *,
        weight: float,
        filters: int,
        learning_rate: float,
        device: torch.device,
        seed: int,
        team: Team | None = None,
    ) -> None:
        super().__init__(loss)
        self._team = team or Team()
        self._share = 1.0
        self._weight = weight
        self.discriminator = Discriminator(filters, torch.Generator().manual_seed(seed)).to(device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=learning_rate, betas=BETAS)

    def backward(self, prediction: Prediction, low: Tensor, target: Tensor) -> float:  # noqa: D102
        loss = self.loss(prediction, target)
        (content,) = torch.autograd.grad(loss, prediction.mean)
        # A leaf of its own: network and discriminator get no gradients from what follows.
        restored = prediction.mean.detach().requires_grad_()
        output = self.discriminator(low, restored)
        (adversarial,) = torch.autograd.grad((output - 1).square().mean(), restored)
        with torch.no_grad():
            skill = (self.discriminator(low, target) - output).mean()
        adversarial = self._scale(content, adversarial, skill) * adversarial
        prediction.mean.backward(content + adversarial)  # type: ignore[no-untyped-call]
        return loss.item() if adversarial.isfinite().all() else math.nan

    def _scale(self, content: Tensor, adversarial: Tensor, skill: Tensor) -> float:
        """Return the factor of the adversarial gradient, the same in all processes; each has its part of the batch."""
        count = len(content)
        norms = (count * gradient.norm().item() for gradient in (content, adversarial))
        batch, skills, content_square, adversarial_square = self._team.total(
            [count, count * skill.item(), *(norm**2 for norm in norms)]
        )
        self._share = count / batch
        # A NaN must stay one, so that the training stops.
        part = skills / batch if math.isnan(skills) else min(max(skills / batch, 0.0), 1.0)
        return self._weight * part * math.sqrt(content_square / max(adversarial_square, LEAST_SQUARE))

    def update(self, prediction: Prediction, low: Tensor, target: Tensor) -> None:  # noqa: D102
        images = torch.cat([target, prediction.mean.detach()])
        of_true, of_restored = self.discriminator(low.repeat(2, 1, 1, 1), images).chunk(2)
        self.optimizer.zero_grad()
        loss = ((of_true - 1).square().mean() + of_restored.square().mean()) / 2
        loss.backward()
        self._team.average(self.discriminator.parameters(), loss.item(), self._share)
        self.optimizer.step()

    def state(self) -> dict[str, Tensor]:  # noqa: D102
        weights = {
            f"discriminator.{name}": value.to("cpu", copy=True).contiguous()
            for name, value in self.discriminator.state_dict().items()
        }
        return weights | pack_moments(self.optimizer.state_dict())

    def load_state(self, tensors: dict[str, Tensor]) -> None:  # noqa: D102
        self.discriminator.load_state_dict(named(tensors, "discriminator."))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": unpack_moments(tensors)})


def _normalized(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.InstanceNorm2d(convolution.out_channels), nn.LeakyReLU(SLOPE)
