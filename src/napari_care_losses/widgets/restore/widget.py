"""The Restore widget: a layer, a model, a button; frames appear as they are restored."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from magicgui.widgets import CheckBox, PushButton
from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_care_losses.errors import CareError, InputError
from napari_care_losses.images.selection import EVERYTHING
from napari_care_losses.restoration.neighbours import choose_neighbours
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.widgets.layers.conversion import PLACING, layer_frames, shown_index
from napari_care_losses.widgets.layers.filling import result_of
from napari_care_losses.widgets.layers.restored_layers import (
    RESTORED,
    UNCERTAINTY,
    follow_placement,
    frames_done,
    match_contrast,
)
from napari_care_losses.widgets.restore.adapt.panel import AdaptPanel
from napari_care_losses.widgets.restore.copying import HELP as COPY_HELP
from napari_care_losses.widgets.restore.copying import record_of
from napari_care_losses.widgets.restore.follow.panel import FollowPanel
from napari_care_losses.widgets.restore.frame_choice import FrameChoice
from napari_care_losses.widgets.restore.frame_notes import RangeNote
from napari_care_losses.widgets.restore.more_layers import MoreLayers
from napari_care_losses.widgets.restore.panels.export_model import ExportPanel
from napari_care_losses.widgets.restore.panels.folder import FolderPanel
from napari_care_losses.widgets.restore.panels.import_model import ImportPanel
from napari_care_losses.widgets.restore.panels.save import SaveButton
from napari_care_losses.widgets.restore.preview.live_preview import LivePreview
from napari_care_losses.widgets.restore.ranking import ModelRanking
from napari_care_losses.widgets.restore.run import Restoration
from napari_care_losses.widgets.restore.scores.panel import ScorePanel
from napari_care_losses.widgets.restore.shown_result import Chosen, plans_to_run, start_text
from napari_care_losses.widgets.shared.copy_button import CopyButton
from napari_care_losses.widgets.shared.events import Links, SingleShot
from napari_care_losses.widgets.shared.form import Rows, fold, line_up, tooltip
from napari_care_losses.widgets.shared.layer_chooser import LayerChooser
from napari_care_losses.widgets.shared.model_chooser import ModelChooser
from napari_care_losses.widgets.shared.panel import Panel
from napari_care_losses.widgets.shared.restoration_form import RestorationForm
from napari_care_losses.widgets.shared.run_bar import RunBar, show_text, text_line

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer
    from napari.layers import Image

    from napari_care_losses.models.library import LibraryEntry
    from napari_care_losses.restoration.rank_models import RankedModel
    from napari_care_losses.restoration.record import RestorationRecord
    from napari_care_losses.widgets.layers.filling import Plan


IMPORT_HELP = "Add a model of CSBDeep, or a package for bioimage.io, to the library."
EXPORT_HELP = "Pack the chosen model for other tools, in the format of bioimage.io."
LIVE_HELP = (
    "Restore the part of the image that you look at, at most 512 x 512 pixels around the cursor. It follows slider, "
    "zoom, model and settings. Nothing is kept; Restore makes the whole stack."
)
CONTRAST_HELP = (
    "Show input, restored and ground truth with the same share of black and white pixels, to compare them by eye."
)


class RestoreWidget(Panel):
    """Restores an image layer with a model of the library. Its parameters are those of a `Panel`."""

    frame_restored = Signal(int)
    """A frame has been restored and is shown."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._chosen: tuple[Image | None, LibraryEntry | None] = None, None
        self._layer_links = Links()
        # many layers may come or go at once
        self._following = SingleShot(self, 0, self._update)
        self._run = Restoration(napari_viewer, parent=self)
        self.frame_choice = FrameChoice(napari_viewer, parent=self)
        self.preview = LivePreview(napari_viewer, parent=self)
        self._build()
        self._connect()
        self._on_image()

    @property
    def is_running(self) -> bool:
        """Whether a restoration is under way."""
        return self._run.is_running

    @cached_property
    def importing(self) -> ImportPanel:
        """The panel of "Import…", made when it is first needed: opening the widget need not wait for it."""
        panel = ImportPanel()
        panel.imported.connect(self._on_imported)
        self._insert(panel)
        return panel

    @cached_property
    def exporting(self) -> ExportPanel:
        """The panel of "Export…", made when it is first needed."""
        panel = ExportPanel()
        panel.set_model(self.model.value)
        self.model.changed.connect(panel.set_model)
        self._insert(panel)
        return panel

    def _insert(self, panel: QWidget) -> None:
        """Put a panel, hidden, below its button; the Tab key would reach last what is made last."""
        panel.setVisible(False)
        self._panels.insertWidget(0, panel)
        last = self.export_button.native
        for child in panel.findChildren(QWidget):
            is_reached = child.focusPolicy() & Qt.FocusPolicy.TabFocus and child.focusProxy() is None
            # the list of a combo box is a window of its own
            if is_reached and child.window() is panel.window():
                QWidget.setTabOrder(last, child)
                last = child

    def _build(self) -> None:
        self.image = LayerChooser(self._viewer, "Image", "The noisy image or stack to restore.")
        self.model = ModelChooser(
            "Model", "Choose a loss and a size, or a model of your own.", follows=lambda: not self._run.is_running
        )
        self.import_button = PushButton(text="Import…", tooltip=tooltip(IMPORT_HELP))
        self.export_button = PushButton(text="Export…", tooltip=tooltip(EXPORT_HELP))
        for button in (self.import_button.native, self.export_button.native):
            button.setCheckable(True)
            self.model.add_button(button)
        self._panels = QVBoxLayout()
        self.ranking = ModelRanking(lambda: self.preview.is_running, parent=self)
        self.adapt = AdaptPanel(self._viewer)
        self.live = CheckBox(text="Live preview", value=True, tooltip=tooltip(LIVE_HELP))
        self.preview_note = text_line()
        self.form = RestorationForm()
        self.range = RangeNote()
        self.more_layers = MoreLayers()
        self.scores = ScorePanel(self._viewer)
        self.other = text_line()
        self.save = SaveButton()
        self.copy = CopyButton(COPY_HELP)
        self.contrast = PushButton(text="Match contrast", tooltip=tooltip(CONTRAST_HELP))
        self.follow = FollowPanel(self._viewer)
        self.folder = FolderPanel()
        self.run_bar = RunBar(
            "Restore",
            "Cancel",
            start_help="Restore what is chosen above, the shown frame first, into a new layer; the input stays.",
            stop_help="Stop; the frames restored so far stay, and Restore goes on with the missing ones.",
        )
        rows, buttons = Rows(self.image), QHBoxLayout()
        buttons.addWidget(self.save, 1)
        buttons.addWidget(self.copy)
        buttons.addWidget(self.contrast.native, 1)
        self.body.addWidget(rows.native)
        self.body.addWidget(self.model.rows.native)
        self.body.addLayout(self._panels)
        above = (self.adapt, self.live.native, self.preview_note, self.form.native, self.range)
        for widget in (*above, self.frame_choice.rows.native, self.more_layers, self.other, self.scores):
            self.body.addWidget(widget)
        self.body.addLayout(buttons)
        self.body.addWidget(fold("Follow an acquisition", self.follow))
        self.body.addWidget(fold("Restore a folder of files", self.folder))
        line_up(rows, self.model.rows, self.form, self.frame_choice.rows)
        self.body.addStretch(1)
        self.foot.addWidget(self.run_bar)

    def _connect(self) -> None:
        self.image.changed.connect(self._on_image)
        choices = self.model, self.form, self.frame_choice, self.more_layers
        for one in (*choices, self.folder, self.follow, self._run):
            one.changed.connect(self._update)
        for one in (self.save, self.copy, self._run):
            one.said.connect(self.run_bar.say)
        self.import_button.changed.connect(lambda is_on: self.importing.setVisible(is_on))
        self.export_button.changed.connect(lambda is_on: self.exporting.setVisible(is_on))
        self.ranking.ranked.connect(self._on_ranked)
        self.live.changed.connect(self._look)
        self.preview.set_finished(self._is_finished)
        self.adapt.changed.connect(self._on_adapted)
        self.adapt.kept.connect(self._on_imported)
        self.preview.switched_off.connect(lambda: setattr(self.live, "value", False))
        self.preview.said.connect(lambda text: show_text(self.preview_note, text))
        self.contrast.changed.connect(self._match_contrast)
        self.run_bar.started.connect(self._start)
        self.run_bar.stopped.connect(self._run.stop)
        self._run.progressed.connect(self.run_bar.show_progress)
        self._run.frame_shown.connect(self._on_frame)
        stops = self._run.close, self.scores.stop, self.ranking.stop, self.adapt.close_for_good
        for stop in (*stops, self.follow.close_for_good, self._layer_links.cut):
            self.closing.closed.connect(stop)
        self._viewer.dims.events.current_step.connect(self._look)
        for event in (self._viewer.layers.events.inserted, self._viewer.layers.events.removed):
            event.connect(self._on_layers)

    def _problem(self) -> str:
        """Return why nothing can be restored; empty if it can."""
        layer = self.image.value
        if layer is None:
            labels = next((layer.name for layer in self._viewer.layers if isinstance(layer, Labels)), "")
            if labels:
                return f"{labels} is a Labels layer: to restore it, right-click it in the list, Convert to Image."
            return "Open an image first; File > Open Sample > CARE Losses has some to try."
        try:
            self.form.value()
            for each in self.frame_choice.layers(layer):
                self.frame_choice.selection(each)
        except CareError as error:
            return str(error)
        if self.model.value is None:
            none = "There is no model yet: train one (Plugins > CARE Losses > Train), or open one."
            return self.model.problem or none
        try:
            for each in self.frame_choice.layers(layer):
                choose_neighbours(layer_frames(each), self.model.value.card)
        except CareError as error:
            return str(error)
        if self.follow.is_running:
            return "An acquisition is being followed: stop that first."
        return "A folder is being restored: wait for it, or stop it." if self.folder.is_running else ""

    def _update(self, _event: object = None) -> None:
        """Follow layer, model and settings."""
        entry = self.model.value
        self.more_layers.show_model(entry)
        self.frame_choice.set_image(self.image.value)
        self._run.look()
        is_running = self._run.is_running
        before, self._chosen = self._chosen, (self.image.value, entry)
        if self._chosen != before and not is_running:
            # it is about another layer or model
            self.run_bar.say("")
        problem = "" if is_running else self._problem()
        self.run_bar.set_state(is_running=is_running, is_stopping=self._run.is_stopping, reason=problem)
        plans = [] if is_running or problem else [plan for _, plan in self._plans()]
        self.run_bar.start_button.setText(start_text(plans))
        parameters = self._parameters()
        if parameters is not None:
            self.folder.set_job(entry, parameters, is_held_up=is_running or self.follow.is_running)
        self.follow.set_job(self.image.value, entry, parameters, is_held_up=is_running or self.folder.is_running)
        self._look()

    def _on_image(self) -> None:
        layer = self.image.value
        self._layer_links.cut()
        if layer is not None:
            self._layer_links.add(layer.events.data, self._on_data)
            for name in PLACING:
                self._layer_links.add(getattr(layer.events, name), self._on_placed)
        self._update()

    def _on_data(self, _event: object) -> None:
        if not self.follow.is_running:  # a live image changes many times a second
            self._update()

    def _on_placed(self, _event: object) -> None:
        if self.image.value is not None:
            follow_placement(self._viewer, self.image.value)

    def _on_layers(self, _event: object) -> None:
        # at once, where it was the layer that is being restored
        self._run.look()
        self._following.start()

    def _on_imported(self, name: str) -> None:
        self.model.reload()
        self.model.choose(name)

    def _on_ranked(self, ranked: list[RankedModel]) -> None:
        self.model.sort_by(ranked, may_choose=not self._run.is_running)

    def _parameters(self) -> RestorationParameters | None:
        """Return the settings; None if they do not go together."""
        with suppress(InputError):
            return self.form.value()
        return None

    def _plans(self) -> list[tuple[Chosen, Plan]]:
        """Return what Restore would do; there must be no problem."""
        image, entry, parameters = self.image.value, self.model.value, self._parameters()
        assert image is not None and entry is not None
        layers = self.frame_choice.layers(image)
        chosen = [Chosen(self._viewer, one, entry, parameters, self.frame_choice.selection(one)) for one in layers]
        return plans_to_run(chosen, self.more_layers.kinds)

    def _start(self) -> None:
        if self._run.is_running or self._problem():
            # it says what has changed since the button was enabled
            self._update()
            return
        # pressing the button chooses layer and model
        self.image.value, self.model.value = self.image.value, self.model.value
        self._run.start([chosen for chosen, _ in self._plans()], self.more_layers.kinds)

    def _on_frame(self, index: int) -> None:
        plan = self._run.plan
        assert plan is not None
        if index == shown_index(plan.source, self._viewer.dims):
            self._look()
        elif self._result(RESTORED) is result_of(self._viewer, plan):
            self.scores.frame_done(index)
        self.frame_restored.emit(index)

    def _look(self, _event: object = None) -> None:
        """Follow the slider: notes on the shown frame, its scores, its preview."""
        self._run.look()
        layer, entry, frames = self.image.value, self.model.value, None
        with suppress(InputError):
            frames = None if layer is None else layer_frames(layer)
        self.contrast.enabled = frames is not None
        if layer is None or frames is None or self.follow.is_running:
            self.scores.show_frame(None, None, 0)
            self.ranking.rank(None, 0, [])
            self.range.show_range(None, 0, None, RestorationParameters())
            self.preview.set_source(None, None, None)
            self.save.offer(None)
            self.copy.offer(None)
            self.adapt.show_source(None, None, 0, None, None)
            return
        index = shown_index(layer, self._viewer.dims)
        restored, uncertainty = (self._result(kind) for kind in (RESTORED, UNCERTAINTY))
        lower, upper = (self._result(kind) for kind in self.more_layers.ends)
        done, parameters = frames_done(restored), self._parameters()
        busy = "Wait until the frames are restored." if self._run.is_running else ""
        self.adapt.show_source(layer, frames, index, entry, parameters, obstacle=busy)
        previewed = self.adapt.previewed(entry)
        self.scores.show_frame(
            layer,
            restored,
            index,
            uncertainty=uncertainty,
            ends=None if lower is None or upper is None else (lower, upper),
            done=done,
            previewed=self._previewed(previewed),
        )
        self.ranking.rank(frames, index, self.model.entries)
        reason = "Wait until the frames are restored." if self._run.is_running else "Nothing is restored yet."
        self.save.offer(None if self._run.is_running or not done else restored, reason)
        chosen = self._choice()
        self.copy.offer(
            None if chosen is None or self._run.is_running else lambda: self._record(chosen, restored), busy
        )
        show_text(self.other, "" if chosen is None or self._run.is_running else chosen.note(restored))
        if parameters is not None:
            self.range.show_range(frames, index, None if entry is None else entry.card, parameters)
            self.preview.set_source(layer, previewed, parameters)
        self.preview.set_enabled(self.live.value and not self._run.is_running and not self.folder.is_running)

    def _previewed(self, entry: LibraryEntry | None) -> tuple[Path, RestorationParameters] | None:
        """Return model file and settings of the preview; None where there is none."""
        parameters = self._parameters()
        if entry is None or parameters is None or not self.live.value or self._run.is_running:
            return None
        return entry.path, parameters

    def _on_adapted(self) -> None:
        if self.adapt.shows_after:
            self.live.value = True
        self._look()

    def _is_finished(self, index: int) -> bool:
        """Return whether a frame needs no preview."""
        chosen = None if self.adapt.shows_after else self._choice()
        return chosen is not None and chosen.is_restored(index)

    def _choice(self) -> Chosen | None:
        """Return what is chosen and shown."""
        layer, entry, selection = self.image.value, self.model.value, EVERYTHING
        if layer is None or entry is None:
            return None
        with suppress(InputError):
            selection = self.frame_choice.selection(layer)
        return Chosen(self._viewer, layer, entry, self._parameters(), selection)

    def _record(self, chosen: Chosen, restored: Image | None) -> tuple[RestorationRecord, str]:
        beside = self.more_layers.kinds
        if restored is not None:
            beside = [kind for kind in (UNCERTAINTY, *self.more_layers.ends) if self._result(kind) is not None]
        return record_of(chosen, restored, beside)

    def _result(self, kind: str) -> Image | None:
        chosen = self._choice()
        if chosen is None:
            return None
        return chosen.result(kind, shown_index(chosen.source, self._viewer.dims), self._run.shown_plan)

    def _match_contrast(self) -> None:
        shown = (self.image.value, self.scores.truth.value, self._result(RESTORED))
        try:
            match_contrast([layer for layer in shown if layer is not None], self._viewer.dims)
        except CareError as error:
            self.run_bar.say(str(error))
