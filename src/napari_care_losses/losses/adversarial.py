"""The loss with a discriminator, which learns during the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_care_losses.losses.frequency import Fourier
from napari_care_losses.parameters import parameter

if TYPE_CHECKING:
    import torch

    from napari_care_losses.compute.distributed import Team
    from napari_care_losses.losses.base import Objective


@dataclass(frozen=True, kw_only=True)
class Adversarial(Fourier):
    r"""The FFT loss, and a discriminator that learns during the training to tell restored from true patches.

    .. math:: L = L_{fft} + \lambda (1 - D(x, r))^2

    with noisy :math:`x`, restored :math:`r` and the discriminator's output :math:`D`, 1 for true patches;
    :math:`\lambda` is chosen so that the gradient of the second term has a fixed part of the size of the first one's.
    The FFT loss alone is reported, validated, and used to choose the best weights: it determines brightness and detail
    by itself. The discriminator sharpens what the FFT loss averages. Detail restored this way may be plausible but
    untrue: use another loss for measurements.
    Source: Nguyen, Hagen, Ventura, section "Future work" (an adaptive loss); Ledig et al. 2017, arXiv:1609.04802; see
    `napari_care_losses.losses.discriminator`.

    Examples
    --------
    >>> import torch
    >>> from napari_care_losses.models.unet import Prediction
    >>> low, target = torch.full((1, 1, 16, 16), 0.25), torch.full((1, 1, 16, 16), 0.5)
    >>> objective = Adversarial().objective(device=torch.device("cpu"), seed=0)
    >>> prediction = Prediction(low.clone().requires_grad_(), None)
    >>> round(objective.backward(prediction, low, target), 6)  # the FFT loss
    0.015625
    >>> objective.update(prediction, low, target)  # a step of the discriminator
    """

    name = "gan"
    title = "FFT + adversarial (GAN)"
    # the discriminator would take the noise of the target for what true images look like
    gives_mean = False

    adversarial_weight: float = parameter(
        0.3,
        "Adversarial weight",
        "Strength of the discriminator relative to the FFT loss. Higher values give sharper but less faithful images.",
        low=0,
        high=1,
    )
    discriminator_rate: float = parameter(
        1e-3, "Discriminator's learning rate", "Learning rate of the discriminator.", low=1e-8, high=1, advanced=True
    )
    discriminator_filters: int = parameter(
        16,
        "Discriminator's filters",
        "Filters of the discriminator's first convolution; the next two have 2 and 4 times as many.",
        low=4,
        high=256,
        advanced=True,
    )

    def objective(self, *, device: torch.device, seed: int, team: Team | None = None) -> Objective:  # noqa: D102
        from napari_care_losses.losses.discriminator import AdversarialObjective

        return AdversarialObjective(
            self,
            weight=self.adversarial_weight,
            filters=self.discriminator_filters,
            learning_rate=self.discriminator_rate,
            device=device,
            seed=seed,
            team=team,
        )
