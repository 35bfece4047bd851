"""Which restored layer belongs to what the Restore widget shows, how it was made, and what a run says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_care_losses.widgets.background.worker import Outcome
from napari_care_losses.widgets.layers.restored_layers import (
    RESTORED,
    Filled,
    find_result,
    frames_done,
    is_current,
    make_plan,
    other_settings,
    result_of,
)
from napari_care_losses.widgets.shared.run_bar import Clock, duration

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.parameters import RestorationParameters
    from napari_care_losses.widgets.layers.restored_layers import Plan


@dataclass(frozen=True)
class Chosen:
    """What is chosen in the widget; `parameters` are None where they do not go together.

    Attributes
    ----------
    viewer, source, entry, parameters
        The viewer, layer, model and settings.
    """

    viewer: ViewerModel
    source: Image
    entry: LibraryEntry
    parameters: RestorationParameters | None

    def result(self, kind: str, running: Plan | None) -> Image | None:
        """Return the layer of the run, or that of the settings, or else the topmost that the model restored."""
        if running is not None and (running.source, running.entry.path) == (self.source, self.entry.path):
            return result_of(self.viewer, running, kind)
        return self._exact(kind) or find_result(self.viewer, self.source, self.entry, kind)

    def is_restored(self, index: int) -> bool:
        """Return whether a frame has been restored with just these settings."""
        return index in frames_done(self._exact(RESTORED))

    def plan(self, *, with_uncertainty: bool) -> Plan | None:
        """Return what Restore would do; None where the settings do not go together."""
        if self.parameters is None:
            return None
        return make_plan(self.viewer, self.source, self.entry, self.parameters, with_uncertainty=with_uncertainty)

    def note(self, restored: Image | None) -> str:
        """Return what has changed since a layer was restored; empty if nothing has."""
        if restored is None or self.parameters is None:
            return ""
        changed = other_settings(restored, self.source, self.entry, self.parameters)
        text = f"{restored.name} was restored otherwise. Now: {changed}. Restore makes another layer."
        return text if changed else ""

    def _exact(self, kind: str) -> Image | None:
        if self.parameters is None:
            return None
        return find_result(self.viewer, self.source, self.entry, kind, self.parameters)


def progress_text(plan: Plan, filled: Filled, clock: Clock, shown: int) -> str:
    """Return what a run says at a step, when it has shown so many frames."""
    if filled.sampled is not None:
        return f"Finding the range: frame {filled.sampled[0]} of {filled.sampled[1]}"
    if not filled.done:
        return "Looking whether the image has changed…"
    total, count = len(plan.frames), len(plan.order)
    parts = [f"{total - count + shown} of {total} frames"] if total > 1 else []
    parts += [f"tile {filled.done} of {filled.total}"] if filled.total > count else []
    return ", ".join([*parts, f"{duration(clock.seconds_left(filled.done, filled.total))} left"])


def outcome_text(plan: Plan, outcome: Outcome, result: Image | None, clock: Clock, note: str) -> str:
    """Return what a run says at its end; empty where it failed."""
    total, missing = len(plan.frames), len(plan.order)
    count = f"{total} frame{'s' if total > 1 else ''}"
    if not is_current(plan):
        done = f"{len(frames_done(result))} of {count} restored"
        return f"Failed: {plan.source.name} was changed meanwhile. {done}; Restore starts from the beginning."
    if outcome is Outcome.DONE:
        restored = f"{missing} missing of {count}" if missing < total else count
        return f"Restored {restored} in {duration(clock.seconds)}. {note}".rstrip()
    if outcome is Outcome.STOPPED:
        return f"Cancelled: {len(frames_done(result))} of {count} are restored."
    return ""
