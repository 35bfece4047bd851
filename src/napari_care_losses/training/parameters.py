"""Settings of a training; importing them does not load torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_care_losses.errors import InputError
from napari_care_losses.images.neighbours import ALONG
from napari_care_losses.models.architecture import MOST_NEIGHBOURS, PRESETS
from napari_care_losses.parameters import Parameters, parameter
from napari_care_losses.restoration.parameters import DEVICES

BUDGETS = ("epochs", "steps", "minutes")

FLOAT32, BFLOAT16 = "float32", "bfloat16"
"""Numbers in which a network multiplies while it trains, as in `napari_care_losses.compute.precision`."""

DEFAULT_NEIGHBOURS = 4
"""Neighbours where a training needs some and none are chosen."""

_OF_NEIGHBOURS = ("neighbours", "neighbours_along")

TARGET_NAMES = ("clean", "shot", "next", "neighbours", "self", "blind_spots")
"""What a network may learn from; `napari_care_losses.training.targets.registry` has them."""

DEFAULT_STEPS_PER_EPOCH = {"epochs": 400, "steps": 100, "minutes": 100}
"""Steps between validations by kind of budget: the paper's, and more often where the budget is short."""


@dataclass(frozen=True, kw_only=True)
class TrainingParameters(Parameters):
    """How a network is trained; the defaults are the paper's.

    Examples
    --------
    >>> parameters = TrainingParameters(preset="lite", budget="steps", amount=1000)
    >>> parameters.fraction(step=250, seconds=0)
    0.25
    >>> TrainingParameters(**RECIPES["robust"]).learning_rate
    0.001
    """

    target: str = parameter(
        "clean",
        "Learn from",
        "clean: a clean, high-exposure image of every field. shot: a second noisy image of every field. next: the next "
        "frame of a movie where little moves. neighbours: the noisy frames of a movie or z-stack, each predicted from "
        "those around it; for noise of any kind that frames do not share. self: the noisy images alone, whose photons "
        "are split in two. "
        "blind_spots: the noisy images alone, of which some pixels are hidden from the network (Noise2Void); for noise "
        "of any kind that pixels, or lines of pixels, do not share. It needs a loss that compares pixel by pixel.",
        choices=TARGET_NAMES,
        words={
            "clean": "clean images (pairs)",
            "shot": "a second noisy shot (pairs)",
            "next": "the next frame of a movie",
            "neighbours": "a movie, each frame by those around",
            "self": "the noisy images alone",
            "blind_spots": "the noisy images alone, by blind spots",
        },
    )
    preset: str = parameter(
        "care",
        "Network",
        "Size of the network. care: the network of CARE. lite: 11 times less computation. deep: 8 times less, with "
        "twice the receptive field of lite. live: 40 times less, at half resolution, refined at full.",
        choices=tuple(PRESETS),
        words={
            "care": "care (as in the paper)",
            "lite": "lite (11 times faster)",
            "deep": "deep (twice the receptive field of lite)",
            "live": "live (nearly 3 times faster than lite)",
        },
    )
    neighbours: int = parameter(
        0,
        "Neighbouring frames",
        "Number of frames around every frame that the network is given too, half of them before it: 0, 2, 4 or 6. For "
        "movies and z-stacks; hardly slower.",
        low=0,
        high=MOST_NEIGHBOURS,
    )
    neighbours_along: str = parameter(
        "auto",
        "Neighbours along",
        "The axis of the neighbouring frames. auto: time where there are several times, else the planes. t: time. z: "
        "the planes of a z-stack.",
        choices=ALONG,
        words={"auto": "automatic", "t": "time (T)", "z": "planes (Z)"},
        advanced=True,
    )
    budget: str = parameter(
        "epochs",
        "Budget unit",
        "Whether the budget counts epochs, steps or minutes. With epochs, the learning rate halves when the validation "
        "loss stops falling (the paper's schedule); with steps or minutes, it falls to zero along a cosine.",
        choices=BUDGETS,
    )
    amount: float = parameter(100.0, "Budget", "Number of epochs, steps or minutes to train.", low=1e-3, high=1e7)
    steps_per_epoch: int = parameter(
        400, "Steps per epoch", "Number of training steps between two validations.", low=1, high=100_000, advanced=True
    )
    patch_size: int = parameter(
        64, "Patch size", "Width of the square patches the network is trained on.", unit="px", low=16, high=1024
    )
    batch_size: int = parameter(
        16, "Batch size", "Number of patches in every training step.", low=1, high=1024, advanced=True
    )
    learning_rate: float = parameter(
        4e-4, "Learning rate", "Initial learning rate of the optimizer (Adam).", low=1e-8, high=1.0, advanced=True
    )
    background_filter: bool = parameter(
        True, "Skip background", "Leave out patches without signal near their centre.", advanced=True
    )
    line_noise: str = parameter(
        "auto",
        "Line noise",
        "With blind spots: hide whole rows where noise is shared along rows (horizontal), whole columns (vertical), or "
        "single pixels (none). auto: as the noise of each image is estimated.",
        choices=("auto", "none", "horizontal", "vertical"),
        advanced=True,
    )
    vary_levels: bool = parameter(
        False,
        "Vary brightness",
        "Change gain and offset of every patch at random, so the model also works on images with other brightness and "
        "contrast.",
        advanced=True,
    )
    vary_noise: bool = parameter(
        False,
        "Vary noise",
        "Add noise of random strength to the low-exposure patches, so the model also works on other exposures.",
        advanced=True,
    )
    redraw_noise: bool = parameter(
        False,
        "Resample noise",
        "Make low-exposure patches from the high ones, with noise taken at random from the same pair, so the model "
        "cannot memorise the noise of a few pairs. It needs clean images.",
        advanced=True,
    )
    vary_size: bool = parameter(
        False,
        "Vary size",
        "Enlarge or shrink the structures up to twofold and resample the noise, so the model also works on structures "
        "of other sizes. It needs clean images.",
        advanced=True,
    )
    match_levels: bool = parameter(
        False,
        "Keep grey levels",
        "Map the high-exposure images to the grey levels of the low ones, so the model only removes noise and keeps "
        "the brightness. Without clean images it always is so.",
        advanced=True,
    )
    average_weights: bool = parameter(
        False,
        "Average weights",
        "Use a moving average of the weights over the last steps instead of the weights of the last step.",
        advanced=True,
    )
    validation_patches: int = parameter(
        128,
        "Validation patches",
        "Number of patches that the validation loss is computed on.",
        low=1,
        high=10_000,
        advanced=True,
    )
    precision: str = parameter(
        FLOAT32,
        "Precision",
        "Numbers in which the network multiplies while it trains. bfloat16: shorter ones, which newer graphics cards "
        "multiply faster and CPUs more slowly; weights, optimizer and loss stay in float32, and so does the model. "
        "float32: as long as the device has them (on NVIDIA cards of compute capability 8.0 and newer, TF32).",
        choices=(FLOAT32, BFLOAT16),
        words={BFLOAT16: "bfloat16 (graphics cards)"},
        advanced=True,
    )
    seed: int = parameter(
        0,
        "Random seed",
        "Training again with the same seed gives the same model.",
        low=0,
        high=2**31 - 1,
        advanced=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_patch_size(self.patch_size, PRESETS[self.preset].block)
        if self.budget != "minutes" and self.amount != int(self.amount):
            raise InputError(f"A budget in {self.budget} must be a whole number, found {self.amount:g}.")
        if self.neighbours % 2:
            raise InputError(f"neighbours must be even, as many before as after, found {self.neighbours}.")
        if self.target == "neighbours" and not self.neighbours:
            raise InputError("The target 'neighbours' needs neighbouring frames: choose 2, 4 or 6.")
        if self.neighbours and self.target == "next":
            raise InputError(
                "The target 'next' takes no neighbouring frames: the next frame, which is to be learnt, would be among "
                "them. Choose the target 'self', or no neighbours."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the plain values; without neighbours, blind spots or bfloat16, as before there were any."""
        unused = {
            *(("precision",) if self.precision == FLOAT32 else ()),
            *(() if self.neighbours else _OF_NEIGHBOURS),
            *(() if self.target == "blind_spots" else ("line_noise",)),
        }
        return {name: value for name, value in super().to_dict().items() if name not in unused}

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
    # a low rate: the first steps must not destroy what the starting model has learned
    "fine-tune": {**_ROBUST, "learning_rate": 3e-4},
    "paper": {name: getattr(TrainingParameters, name) for name in _ROBUST},
}
"""Settings that belong together, by name: robust is explained in docs/how_to/train.md, fine-tune is the same for
training a model further, paper is that of the paper."""


def recommended_recipe(*, from_model: bool) -> str:
    """Return the name of the recipe to take where none is chosen.

    Parameters
    ----------
    from_model : bool
        Whether the training starts from a model.

    Examples
    --------
    >>> recommended_recipe(from_model=False)
    'robust'
    >>> recommended_recipe(from_model=True)
    'fine-tune'
    """
    return "fine-tune" if from_model else "robust"


@dataclass(frozen=True, kw_only=True)
class DeviceParameters(Parameters):
    """Where a network is trained: no part of what makes two trainings equal."""

    device: str = parameter(
        "auto",
        "Device",
        "Where to compute: auto takes an NVIDIA graphics card (cuda) if there is one, else an Apple one (mps), else "
        "the CPU (cpu).",
        choices=DEVICES,
    )


def check_patch_size(patch_size: int, block: int) -> None:
    """Raise an `InputError` if the patch size is no multiple of a network's block."""
    if patch_size % block:
        raise InputError(f"patch_size must be a multiple of {block}, found {patch_size}.")
