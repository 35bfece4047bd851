"""The one objective with a state of its own: a discriminator that learns to tell restored from true patches."""

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

    from napari_care_losses.losses.registry import Adversarial
    from napari_care_losses.models.unet import Prediction

BETAS = (0.5, 0.999)
"""Adam's decay rates for the discriminator (Isola et al. 2017)."""

SPREAD = 0.02
"""Standard deviation of the initial weights (Isola et al. 2017): where convolutions are normalised, larger weights
learn more slowly, and with those of He or Glorot the discriminator learnt next to nothing in 400 steps."""

SLOPE = 0.2
"""Slope of the discriminator's leaky ReLU below zero (Isola et al. 2017)."""

SMALLEST = 1e-24
"""Square of the length below which a pull is none."""


class Discriminator(nn.Module):
    """Judges, at every 4th pixel, whether the 34 px around it are restored (0) or true (1).

    The convolutions of a PatchGAN of that reach, each but the first and last normalised over the patch: restored and
    true images differ so little that bounding its slope instead (spectral normalisation) left it blind. It sees the
    noisy patch beside the image: structure that the noisy patch does not bear out, and noise left from it, then give a
    restoration away.

    Parameters
    ----------
    filters : int
        Of the first convolution.
    generator : torch.Generator
        Source of the initial weights, for repeatable trainings.

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
        """Judge images (N, 1, Y, X) that belong to noisy ones of that shape; return (N, 1, Y / 4 - 2, X / 4 - 2)."""
        judged: Tensor = self.layers(torch.cat([low, image], dim=1))
        return judged


class AdversarialObjective(Objective):
    r"""The content loss, and a discriminator that pulls the restored image to where it takes it for true.

    Least squares keep the pull of images that are far from passing:

    .. math:: L_G = (D(x, r) - 1)^2, \quad L_D = ((D(x, t) - 1)^2 + D(x, r)^2) / 2

    with noisy :math:`x`, restored :math:`r` and target :math:`t`, means over all judgements. The content loss leads:
    at every step the pull is scaled to a part of it, as the gradients at the restored image tell,

    .. math:: \nabla_r L = \nabla_r L_{content} + w s |\nabla_r L_{content}| \nabla_r L_G / |\nabla_r L_G|

    so that no discriminator, however steep, outweighs it. The part is the weight :math:`w` times the discriminator's
    skill :math:`s = \overline{D(x, t) - D(x, r)}`, within 0 and 1, on a batch it has not learnt from: one that knows
    nothing yet, or can no longer tell, does not pull. The loss reported is the content's, as in validation.

    Parameters
    ----------
    loss : Adversarial
        Content loss, weight and discriminator.
    device : torch.device
        Where to compute.
    seed : int
        Of the discriminator's initial weights.
    team : Team, optional
        The processes that train together: a step is then that of one process with the whole batch, and the
        discriminators of all stay equal.

    References
    ----------
    Mao et al. 2017, arXiv:1611.04076, equation 9 with a = 0, b = c = 1 (least squares); Esser, Rombach, Ommer 2021,
    arXiv:2012.09841, equation 7 (adaptive weight), taken at the output in place of the last layer, as Défossez et al.
    2022, arXiv:2210.13438, section 3.4, do: it then holds whatever the network. The skill is our own.
    """

    def __init__(self, loss: Adversarial, *, device: torch.device, seed: int, team: Team | None = None) -> None:
        super().__init__(loss)
        self._team = team or Team()
        self._share = 1.0
        self._weight = loss.adversarial_weight
        generator = torch.Generator().manual_seed(seed)
        self.discriminator = Discriminator(loss.discriminator_filters, generator).to(device)
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=loss.discriminator_rate, betas=BETAS)

    def backward(self, prediction: Prediction, low: Tensor, target: Tensor) -> float:  # noqa: D102
        content = self.loss(prediction, target)
        (gradient,) = torch.autograd.grad(content, prediction.mean)
        # a leaf of its own: neither the network nor the discriminator is given gradients by what follows
        restored = prediction.mean.detach().requires_grad_()
        judged = self.discriminator(low, restored)
        (pull,) = torch.autograd.grad((judged - 1).square().mean(), restored)
        with torch.no_grad():
            skill = (self.discriminator(low, target) - judged).mean()
        pull = self._length(gradient, pull, skill) * pull
        prediction.mean.backward(gradient + pull)  # type: ignore[no-untyped-call]
        return content.item() if pull.isfinite().all() else math.nan

    def _length(self, gradient: Tensor, pull: Tensor, skill: Tensor) -> float:
        """Return by what the pull is scaled, in all processes alike; each has the means over its own share."""
        count = len(gradient)
        sums = [count, count * skill.item(), *((count * one.norm().item()) ** 2 for one in (gradient, pull))]
        batch, skills, content, pulls = self._team.total(sums)
        self._share = count / batch
        # a skill that is not a number must not pass for none
        part = skills / batch if math.isnan(skills) else min(max(skills / batch, 0.0), 1.0)
        return self._weight * part * math.sqrt(content / max(pulls, SMALLEST))

    def update(self, prediction: Prediction, low: Tensor, target: Tensor) -> None:  # noqa: D102
        images = torch.cat([target, prediction.mean.detach()])
        judged_true, judged_restored = self.discriminator(low.repeat(2, 1, 1, 1), images).chunk(2)
        self.optimizer.zero_grad()
        loss = ((judged_true - 1).square().mean() + judged_restored.square().mean()) / 2
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
