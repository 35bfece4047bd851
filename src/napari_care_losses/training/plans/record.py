"""How a model was trained, as a command and as Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_care_losses.errors import InputError
from napari_care_losses.images.selection import as_ranges
from napari_care_losses.io.stacks import image_name
from napari_care_losses.models.library import model_word
from napari_care_losses.models.model import read_card
from napari_care_losses.provenance import (
    Code,
    Record,
    changed,
    option,
    option_words,
    path_word,
    python_call,
    python_parameters,
    python_value,
    range_words,
)
from napari_care_losses.restoration.record import opening, opening_imports
from napari_care_losses.training.pair_sources import pair_files
from napari_care_losses.training.parameters import (
    DEFAULT_NEIGHBOURS,
    DEFAULT_STEPS_PER_EPOCH,
    RECIPES,
    TrainingParameters,
    recommended_recipe,
)
from napari_care_losses.training.targets.registry import TARGETS, fine_tuning_loss

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_care_losses.losses.base import Loss


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(Record):
    """What trained a model.

    Examples
    --------
    >>> from pathlib import Path
    >>> from napari_care_losses.losses.registry import LOSSES
    >>> record = TrainingRecord(
    ...     pairs=[(Path("low.tif"), Path("high.tif"))],
    ...     loss=LOSSES["fft"](),
    ...     parameters=TrainingParameters(**RECIPES["robust"], preset="lite", budget="steps", steps_per_epoch=100),
    ...     out=Path("actin.safetensors"),
    ... )
    >>> print(record.bash())
    napari-care-losses train --low low.tif --high high.tif --loss fft --out actin.safetensors --steps 100 --preset lite
    """

    pairs: Sequence[tuple[Path, Path | None]]
    """Files of the low exposures, and of the high ones, or None where the target takes none."""
    loss: Loss
    parameters: TrainingParameters
    out: Path
    structure: str = "other"
    start_from: Path | None = None
    device: str = "auto"
    channel: int | None = None
    ranges: Sequence[tuple[int, int]] | None = None
    """The steps of every file that were taken."""
    only: Sequence[int] | None = None
    """The frames that were learnt from of these, as part of all of them."""

    def words(self) -> list[str]:
        """Return the words of the command ``train``."""
        lows = [path_word(low) for low, _ in self.pairs]
        highs = [path_word(high) for _, high in self.pairs if high is not None]
        budget = self.parameters.budget
        amount = self.parameters.amount if budget == "minutes" else int(self.parameters.amount)
        return [
            *("train", "--low", *lows),
            *(["--high", *highs] if highs else []),
            *option("pairing", None if self._is_paired_by_itself() else "order"),
            *self._loss_words(),
            *option("out", path_word(self.out)),
            *option("channel", self.channel),
            *option("frames", range_words(self.ranges)),
            *option("only", range_words(None if self.only is None else as_ranges(self.only))),
            *option("from", None if self.start_from is None else model_word(self.start_from)),
            *option("structure", None if self.structure == "other" else self.structure),
            *(option(budget, amount) if (budget, amount) != ("epochs", 100) else []),
            *option("device", None if self.device == "auto" else self.device),
            *self._setting_words(bool(highs)),
        ]

    def python(self) -> str:
        """Return the same as Python."""
        is_whole = self.channel is None and self.ranges is None
        sources: list[Any] = []
        lines: list[str] = []
        for number, (low, high) in enumerate(self.pairs):
            sides: list[Any] = [low, high]
            if not is_whole:
                for place, (name, path) in enumerate((("low", low), ("high", high))):
                    if path is not None:
                        variable = f"{name}_{number}"
                        text = python_value(path)
                        lines += opening(variable, text, channel=self.channel, ranges=self.ranges)
                        sides[place] = Code(variable)
            settings = [image_name(low), *sides, self.parameters.target]
            only = {} if self.only is None else {"only": tuple(self.only)}
            sources.append(Code(python_call("PairSource", only, map(python_value, settings))))
        start = None if self.start_from is None else Code(f"ncl.find_model({model_word(self.start_from)!r})")
        loss = python_call(f"ncl.LOSSES[{self.loss.name!r}]", changed(self.loss))
        plan = {
            "pairs": sources,
            "loss": Code(loss),
            "parameters": Code(f"ncl.{python_parameters(self.parameters)}"),
            "structure": self.structure,
            "start_from": start,
            "out": self.out,
            **({} if self.device == "auto" else {"device": self.device}),
        }
        return "\n".join(
            [
                "from pathlib import Path",
                "",
                "import napari_care_losses as ncl",
                *opening_imports(self.channel),
                "from napari_care_losses.training.pair_sources import PairSource",
                "from napari_care_losses.training.plans.plan import TrainingPlan, train",
                "",
                *lines,
                f"plan = {python_call('TrainingPlan', plan)}",
                "for report in train(plan, previews=False):",
                "    print(report)",
            ]
        )

    def _is_paired_by_itself(self) -> bool:
        """Return whether the command line finds these pairs without being told how."""
        if len(self.pairs) < 2 or not TARGETS[self.parameters.target].takes_high:
            return True
        pairs = [(low, high) for low, high in self.pairs if high is not None]
        try:
            found, _ = pair_files([low for low, _ in pairs], [high for _, high in pairs])
        except InputError:
            return False
        return found == pairs

    def _loss_words(self) -> list[str]:
        if self.start_from is not None:
            usual = fine_tuning_loss(read_card(self.start_from), self.parameters.target)
            if usual == self.loss:
                return []
        return [*option("loss", self.loss.name), *option_words(self.loss)]

    def _setting_words(self, has_high: bool) -> list[str]:
        """Return the options of the settings, and of the recipe that leaves the fewest of them."""
        parameters, starts = self.parameters, self.start_from is not None
        neighbours = 0
        if self.start_from is not None:
            # the network is that of the model
            neighbours = read_card(self.start_from).care.neighbours
        if not neighbours and parameters.target == "neighbours":
            neighbours = DEFAULT_NEIGHBOURS
        usual: dict[str, Any] = {
            "steps_per_epoch": DEFAULT_STEPS_PER_EPOCH[parameters.budget],
            "target": "clean" if has_high else "self",
            "neighbours": neighbours,
            "budget": parameters.budget,
            "amount": parameters.amount,
            **({"preset": parameters.preset} if starts else {}),
        }
        recommended = recommended_recipe(from_model=starts)
        found = {name: option_words(parameters, usual | recipe) for name, recipe in RECIPES.items()}
        recipe = min(found, key=lambda name: (len(found[name]), name != recommended))
        return [*option("recipe", None if recipe == recommended else recipe), *found[recipe]]
