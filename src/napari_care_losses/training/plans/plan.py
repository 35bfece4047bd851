"""A training from layers or files into a model file, and drawing sample patches."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.models.model import load_model
from napari_care_losses.training.progress import Epoch, Preparing, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_care_losses.losses.base import Loss
    from napari_care_losses.training.logs.parameters import LogParameters
    from napari_care_losses.training.pair_sources import PairSource
    from napari_care_losses.training.pairs import Pair
    from napari_care_losses.training.parameters import TrainingParameters
    from napari_care_losses.training.patches import Batch
    from napari_care_losses.training.plans.record import TrainingRecord
    from napari_care_losses.training.progress import Preview, Report


class TrainingPlan(NamedTuple):
    """All that a training needs."""

    pairs: Sequence[PairSource]
    loss: Loss
    parameters: TrainingParameters
    structure: str
    start_from: Path | None
    """Model file whose weights to start from."""

    out: Path
    """The model file to write."""

    device: str = "auto"
    resume: bool = False
    """Whether to resume the stopped training of the same file."""
    log: LogParameters | None = None
    """What is logged besides the CSV file beside the model."""

    files: Sequence[tuple[Path, Path | None]] | None = None
    """The files of the pairs, by which the model's card says how it was made; needed only where pairs are no paths."""

    channel: int | None = None
    """The only channel of the files."""
    only: tuple[int, ...] | None = None
    """The frames of every file that are learnt from, counted over all axes in front; None for all."""
    kept_as: Path | None = None
    """Where the model will lie in the end, by its card, if that is not where it is written."""

    @property
    def writes_events(self) -> bool:
        """Whether TensorBoard's events are written."""
        return self.log is not None and self.log.tensorboard

    def record(self) -> TrainingRecord | None:
        """Return how to train again; None where it is not known which files the pairs are."""
        from napari_care_losses.training.plans.record import TrainingRecord

        files, only = self.files, self.only
        if files is None:
            files = []
            parts = {source.only for source in self.pairs}
            for _, low, high, *_ in self.pairs:
                if isinstance(low, Frames) or isinstance(high, Frames) or len(parts) > 1:
                    return None
                files.append((low, high))
            only = next(iter(parts), None)
        return TrainingRecord(
            pairs=files,
            loss=self.loss,
            parameters=self.parameters,
            out=self.kept_as or self.out,
            structure=self.structure,
            start_from=self.start_from,
            device=self.device,
            channel=self.channel,
            only=only,
        )


class Resumed(NamedTuple):
    """A stopped training was resumed: the steps and epochs before."""

    step: int
    history: list[Epoch]


def train(plan: TrainingPlan, *, previews: bool = True) -> Iterator[Report | Resumed | Preview]:
    """Train; for a stopped training see `train_to_file`.

    Yields the reports of the trainer (reading and checking the images counts as preparing), `Resumed` once before the
    first step of a resumed training, and, unless `previews` are not wanted, a `Preview` after the first step and every
    epoch; less often if epochs are very short.
    """
    # imported here, in the background: torch takes seconds
    from napari_care_losses.training.logs.logged import train_and_log
    from napari_care_losses.training.pair_sources import examples_of
    from napari_care_losses.training.pairs import pairs_from_frames, usable_pairs
    from napari_care_losses.training.targets.registry import TARGETS
    from napari_care_losses.training.trainer import Trainer

    if plan.out.exists() and not plan.resume:
        # another viewer may have made it since the training was queued
        raise InputError(f"The library already has a model {plan.out.stem!r}: choose another name.")
    pairs: list[Pair] = []
    left_out: list[str] = []
    for done, source in enumerate(plan.pairs):
        yield Preparing(done, len(plan.pairs))
        low, high = source.opened()
        places = examples_of(TARGETS[source.target], low, source.only)
        pairs += pairs_from_frames(
            low,
            high,
            source.name,
            places=places,
            left_out=left_out,
            neighbours=plan.parameters.neighbours,
            along=plan.parameters.neighbours_along,
        )
    pairs = usable_pairs(pairs, left_out, plan.parameters.patch_size)
    start_from = None if plan.start_from is None else load_model(plan.start_from)
    record = plan.record()
    trainer = Trainer(
        pairs,
        plan.loss,
        plan.parameters,
        structure=plan.structure,
        start_from=start_from,
        device=plan.device,
        provenance=None if record is None else record.texts(),
    )
    is_resumed = plan.resume
    work = train_and_log(trainer, plan.out, resume=plan.resume, log=plan.log, previews=previews)
    with closing(work) as reports:
        for report in reports:
            if is_resumed and isinstance(report, Step):
                yield Resumed(report.step - 1, trainer.history)
            is_resumed &= not isinstance(report, Step)
            yield report


def sample_patches_of(pairs: Sequence[PairSource], parameters: TrainingParameters, count: int) -> Iterator[Batch]:
    """Yield one batch of patches as a training draws them, different ones every time."""
    # scipy's filters take half a second to load
    import numpy as np

    from napari_care_losses.training.patches import sample_patches

    yield sample_patches(pairs, parameters, count, np.random.default_rng())
