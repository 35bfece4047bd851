"""Train on pairs held in memory, watch the loss, and restore with the result.

python examples/train_on_arrays.py          # a few steps on simulated images, to see it work
python examples/train_on_arrays.py 1000     # as many steps as you like
"""

import sys

from napari_care_losses.evaluation.metrics import score
from napari_care_losses.images.frames import Frames
from napari_care_losses.losses.frequency import Bandpass
from napari_care_losses.models.model import Model
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs
from napari_care_losses.training.pairs import pairs_from_frames
from napari_care_losses.training.parameters import TrainingParameters
from napari_care_losses.training.progress import Epoch
from napari_care_losses.training.trainer import Trainer


def main(steps: int = 4) -> Model:
    """Train, score one restored frame, and return the model."""
    low, high = simulate_pairs("mitochondria", 4, (128, 128), seed=5)
    pairs = pairs_from_frames(Frames(low[:3]), Frames(high[:3]), "simulated")
    settings = TrainingParameters(preset="lite", budget="steps", amount=steps, steps_per_epoch=max(1, steps // 4))
    trainer = Trainer(pairs, Bandpass(sigma_small=0.5, sigma_large=5.0), settings, structure="mitochondria")
    for report in trainer.run():
        if isinstance(report, Epoch):
            print(f"step {report.step}: training {report.training_loss:.4f}, validation {report.validation_loss:.4f}")
    model = trainer.model()
    print("held-out frame:", score(restore(low[3], model), high[3]))
    return model


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
