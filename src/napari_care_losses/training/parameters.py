"""How a network is trained: the settings, known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_care_losses.errors import InputError
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.parameters import Parameters, parameter
from napari_care_losses.restoration.parameters import DEVICES

BUDGETS = ("epochs", "steps", "minutes")

DEFAULT_STEPS_PER_EPOCH = {"epochs": 400, "steps": 100, "minutes": 100}
"""Steps between validations by kind of budget: the paper's, and more often where the budget is short."""


@dataclass(frozen=True, kw_only=True)
class TrainingParameters(Parameters):
    """How a network is trained; the defaults are the paper's."""

    preset: str = parameter(
        "care",
        "Network",
        "Size of the network: care is CSBDeep's; lite costs an eleventh; deep, an eighth, sees twice as far.",
        choices=tuple(PRESETS),
        words={
            "care": "care (as in the paper)",
            "lite": "lite (11 times faster)",
            "deep": "deep (twice the receptive field of lite)",
        },
    )
    budget: str = parameter(
        "epochs",
        "Budget in",
        "What ends the training. In epochs the rate halves when the validation loss stops falling (the paper's "
        "schedule); in steps or minutes it falls along a cosine to zero.",
        choices=BUDGETS,
    )
    amount: float = parameter(100.0, "Budget", "How many epochs, steps or minutes to train.", low=1e-3, high=1e7)
    steps_per_epoch: int = parameter(
        400, "Steps per epoch", "Steps between two validations.", low=1, high=100_000, advanced=True
    )
    patch_size: int = parameter(64, "Patch size", "Width of the square patches.", unit="px", low=16, high=1024)
    batch_size: int = parameter(16, "Batch size", "Patches a step.", low=1, high=1024, advanced=True)
    learning_rate: float = parameter(4e-4, "Learning rate", "Initial rate of Adam.", low=1e-8, high=1.0, advanced=True)
    background_filter: bool = parameter(
        True, "Skip background", "Whether patches without signal near their centre are left out.", advanced=True
    )
    vary_levels: bool = parameter(
        False,
        "Vary brightness",
        "Whether gain and offset of every patch are drawn at random: the model then bears images whose percentiles lie "
        "elsewhere.",
        advanced=True,
    )
    vary_noise: bool = parameter(
        False,
        "Vary noise",
        "Whether noise of random strength is added to low patches: the model then bears other exposures.",
        advanced=True,
    )
    redraw_noise: bool = parameter(
        False,
        "Redraw noise",
        "Whether low patches are made from the high ones with noise of the same pair, drawn anew every time: the model "
        "cannot learn by heart the noise of few pairs.",
        advanced=True,
    )
    vary_size: bool = parameter(
        False,
        "Vary size",
        "Whether structure is enlarged or shrunk up to twofold, its noise redrawn: the model then bears structure of "
        "other sizes.",
        advanced=True,
    )
    match_levels: bool = parameter(
        False,
        "Keep grey levels",
        "Whether clean images are brought to the grey levels of their noisy ones: the model then takes the noise away "
        "and nothing else, and its results can be compared in brightness.",
        advanced=True,
    )
    average_weights: bool = parameter(
        False,
        "Average weights",
        "Whether the model is a moving average over the last steps' weights in place of the last ones.",
        advanced=True,
    )
    validation_patches: int = parameter(
        128, "Validation patches", "Patches the validation loss is taken over.", low=1, high=10_000, advanced=True
    )
    seed: int = parameter(0, "Seed", "Equal seeds give equal models.", low=0, high=2**31 - 1, advanced=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_patch_size(self.patch_size, PRESETS[self.preset].block)
        if self.budget != "minutes" and self.amount != int(self.amount):
            raise InputError(f"A budget in {self.budget} must be a whole number, found {self.amount:g}.")

    def fraction(self, step: int, seconds: float) -> float:
        """Return the part of the budget, 0 to 1, that so many steps and seconds of training use up."""
        used = {"epochs": step / self.steps_per_epoch, "steps": float(step), "minutes": seconds / 60}
        return min(1.0, used[self.budget] / self.amount)


_ROBUST: dict[str, Any] = {
    "learning_rate": 1e-3,
    "background_filter": False,
    "vary_levels": True,
    "vary_noise": True,
    "redraw_noise": True,
    "vary_size": True,
    "match_levels": True,
    "average_weights": True,
}

RECIPES: dict[str, dict[str, Any]] = {
    "robust": _ROBUST,
    # what the model that is started from has learned is not to be lost in the first steps
    "fine-tune": {**_ROBUST, "learning_rate": 3e-4},
    "paper": {
        "learning_rate": 4e-4,
        "background_filter": True,
        "vary_levels": False,
        "vary_noise": False,
        "redraw_noise": False,
        "vary_size": False,
        "match_levels": False,
        "average_weights": False,
    },
}
"""Settings of training that belong together, by name: those of docs/how_to/train.md, the same to train a
model further, and the paper's."""


@dataclass(frozen=True, kw_only=True)
class DeviceParameters(Parameters):
    """Where a network is trained: no part of what makes two trainings equal."""

    device: str = parameter(
        "auto",
        "Device",
        "Where to compute: auto takes an NVIDIA graphics card (cuda) where there is one, then Apple's (mps), then the "
        "processor (cpu).",
        choices=DEVICES,
    )


def check_patch_size(patch_size: int, block: int) -> None:
    """Check that patches fit a network's block.

    Raises
    ------
    InputError
        If the patch size is no multiple of the block.
    """
    if patch_size % block:
        raise InputError(f"patch_size must be a multiple of {block}, found {patch_size}.")
