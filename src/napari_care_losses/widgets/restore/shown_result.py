"""Which restored layer belongs to what the Restore widget shows, how it was made, and what a run says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_care_losses.images.selection import EVERYTHING
from napari_care_losses.widgets.background.worker import Outcome
from napari_care_losses.widgets.layers.filling import Filled, Plan, is_current, make_plan, result_of
from napari_care_losses.widgets.layers.restored_layers import (
    RESTORED,
    all_made,
    find_result,
    frames_done,
    job_of,
    other_settings,
    region_of,
)
from napari_care_losses.widgets.shared.run_bar import Clock, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.images.selection import Selection
    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters


@dataclass(frozen=True)
class Chosen:
    """What is chosen in the widget; `parameters` are None where they do not go together.

    Attributes
    ----------
    viewer, source, entry, parameters
        The viewer, layer, model and settings.
    selection
        The frames, and the part of them.
    """

    viewer: ViewerModel
    source: Image
    entry: LibraryEntry
    parameters: RestorationParameters | None
    selection: Selection = EVERYTHING

    def result(self, kind: str, index: int, running: Plan | None) -> Image | None:
        """Return the layer of the run; else one of these settings, the one with frame `index` first; else the topmost.

        Of several with that frame, it is the one of the part chosen, or that of whole frames.
        """
        if running is not None and (running.source, running.entry.path) == (self.source, self.entry.path):
            return result_of(self.viewer, running, kind)
        made = self._made(kind)
        with_frame = (layer for layer in made if index in frames_done(layer))
        return (
            next(with_frame, None) or next(iter(made), None) or find_result(self.viewer, self.source, self.entry, kind)
        )

    def is_restored(self, index: int) -> bool:
        """Return whether a frame, or the part chosen of it, has been restored with just these settings."""
        there = (layer for layer in self._made(RESTORED) if region_of(layer) in (None, self.selection.region))
        return any(index in frames_done(layer) for layer in there)

    def plan(self, beside: Sequence[str] = ()) -> Plan:
        """Return what Restore would do, with these kinds of layers beside; raises `InputError` if it cannot be done."""
        assert self.parameters is not None
        return make_plan(
            self.viewer,
            self.source,
            self.entry,
            self.parameters,
            self.selection,
            beside=beside,
        )

    def note(self, restored: Image | None) -> str:
        """Return what has changed since a layer was restored; empty if nothing has."""
        if restored is None or self.parameters is None:
            return ""
        changed = other_settings(restored, self.source, self.entry, self.parameters)
        text = f"{restored.name} was restored otherwise. Now: {changed}. Restore makes another layer."
        return text if changed else ""

    def _made(self, kind: str) -> list[Image]:
        """Return the layers made with these settings: first of the part chosen, then of whole frames, then others."""
        if self.parameters is None:
            return []
        job = job_of(self.source, self.entry, self.parameters)
        made, chosen = all_made(self.viewer, self.source, self.entry, kind, job), self.selection.region
        return sorted(made, key=lambda layer: (region_of(layer) != chosen, region_of(layer) is not None))


def plans_to_run(chosen: Sequence[Chosen], beside: Sequence[str]) -> list[tuple[Chosen, Plan]]:
    """Return what Restore would do: of several layers, those of which something is missing, unless nothing is.

    Raises `InputError` if a layer cannot be restored.
    """
    plans = [(one, one.plan(beside)) for one in chosen]
    return [pair for pair in plans if not pair[1].is_again] or plans


def start_text(plans: Sequence[Plan]) -> str:
    """Return the text of the button that starts such a run."""
    if len(plans) != 1:
        return f"Restore {len(plans)} layers" if plans else "Restore"
    (plan,) = plans
    left, wanted = len(plan.order), len(plan.wanted)
    if left < wanted:
        return f"Restore the missing {left}"
    if wanted == len(plan.frames):
        return "Restore"
    return f"Restore {_frames(left)}{' again' if plan.is_again else ''}"


def _frames(count: int) -> str:
    return f"{count} frame{'s' if count != 1 else ''}"


def progress_text(plan: Plan, filled: Filled, clock: Clock, shown: int) -> str:
    """Return what a run says at a step, when it has shown so many frames."""
    if filled.sampled is not None:
        return f"Finding the range: frame {filled.sampled[0]} of {filled.sampled[1]}"
    if not filled.done:
        return "Looking whether the image has changed…"
    wanted, count = len(plan.wanted), len(plan.order)
    parts = [f"{wanted - count + shown} of {wanted} frames"] if wanted > 1 else []
    parts += [f"tile {filled.done} of {filled.total}"] if filled.total > count else []
    return ", ".join([*parts, f"{duration(clock.seconds_left(filled.done, filled.total))} left"])


def outcome_text(plan: Plan, outcome: Outcome, result: Image | None, clock: Clock, note: str) -> str:
    """Return what a run says at its end; empty where it failed."""
    total, wanted, count = len(plan.frames), len(plan.wanted), len(plan.order)
    done = f"{len(frames_done(result).intersection(plan.wanted))} of {_frames(wanted)}"
    if not is_current(plan):
        return f"Failed: {plan.source.name} was changed meanwhile. {done} restored; Restore starts from the beginning."
    if outcome is Outcome.DONE:
        missing = " missing" if count < wanted == total else ""
        what = _frames(total) if count == total else f"{count}{missing} of {_frames(total)}"
        return f"Restored {what} in {duration(clock.seconds)}. {note}".rstrip()
    return f"Cancelled: {done} are restored." if outcome is Outcome.STOPPED else ""
