"""What is logged of a training besides the CSV file; importing it does not load torch."""

from __future__ import annotations

from dataclasses import dataclass

from napari_care_losses.parameters import Parameters, parameter


@dataclass(frozen=True, kw_only=True)
class LogParameters(Parameters):
    """What is logged besides the CSV file: no part of what makes two trainings equal."""

    tensorboard: bool = parameter(
        False,
        "TensorBoard",
        "Also write TensorBoard's events, the curves and the validation image, into the folder tensorboard beside the "
        "model. It needs the package tensorboard.",
    )
