"""The Compare widget: restores one image with several methods, shows them side by side, scores and tests them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QWidget

from napari_care_losses.errors import CareError
from napari_care_losses.evaluation.statistics import table_text
from napari_care_losses.restoration.engines.choose import libraries
from napari_care_losses.widgets.background.worker import Job, LatestJob, Outcome
from napari_care_losses.widgets.compare.colors import panel_colours
from napari_care_losses.widgets.compare.export import export, record_of, summary_of
from napari_care_losses.widgets.compare.results import ComparisonResults, show_frame
from napari_care_losses.widgets.compare.settings import ComparisonSettings
from napari_care_losses.widgets.compare.summary import ComparisonSummary
from napari_care_losses.widgets.layers.conversion import shown_index
from napari_care_losses.widgets.shared.events import SingleShot
from napari_care_losses.widgets.shared.panel import Panel
from napari_care_losses.widgets.shared.run_bar import Clock, RunBar, duration

if TYPE_CHECKING:
    import napari.viewer

    from napari_care_losses.comparison.compare import Compared
    from napari_care_losses.evaluation.statistics import Row
    from napari_care_losses.widgets.compare.window.window import ComparisonView

REPORT = "comparison.html"
"""Name of the report that is suggested."""

SUMMARY_MS = 300
"""Time to wait for more frames before the table is computed again."""


class CompareWidget(Panel):
    """Compares models and baselines on an image layer; the parameters are those of a `Panel`."""

    def __init__(self, napari_viewer: napari.viewer.Viewer, *, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent=parent)
        self.results: ComparisonResults | None = None
        self._disagreed: ComparisonResults | None = None
        self._rows: list[Row] = []
        self._clock = Clock()
        self.view: ComparisonView | None = None
        self._job, self._exporting = Job(parent=self, libraries=libraries, gives_way=True), Job(parent=self)
        self._disagreeing = Job(parent=self, libraries=libraries, gives_way=True)
        self._summing = LatestJob(parent=self, delay_ms=SUMMARY_MS)
        self._scrolling = SingleShot(self, 0, lambda: self.bring_into_view(self.summary))
        # many layers may go at once
        self._following = SingleShot(self, 0, self._update)
        self._build()
        self._connect()
        self._update()

    @property
    def is_running(self) -> bool:
        """Whether a comparison is running."""
        return self._job.is_running

    @property
    def is_busy(self) -> bool:
        """Whether a comparison, its table or its report is being made."""
        return (
            self._job.is_running
            or self._summing.is_running
            or self._exporting.is_running
            or self._disagreeing.is_running
        )

    def _build(self) -> None:
        self.settings = ComparisonSettings(self._viewer)
        self.summary = ComparisonSummary()
        self.run_bar = RunBar(
            "Compare",
            "Stop",
            start_help="Restore the frames by every ticked method. A window shows them side by side.",
            stop_help="Stop. The frames restored so far are kept.",
        )
        self.body.addWidget(self.settings)
        self.body.addWidget(self.summary)
        self.body.addStretch(1)
        self.foot.addWidget(self.run_bar)

    def _connect(self) -> None:
        self.settings.changed.connect(self._update)
        self.run_bar.started.connect(self._start)
        self.run_bar.stopped.connect(self._stop)
        self.summary.panels_asked.connect(self._open_view)
        self.summary.copy_asked.connect(self._copy)
        self.summary.again.said.connect(self.run_bar.say)
        self.summary.layers_asked.connect(lambda: self.results.add_layers(self._viewer))
        self.summary.export_asked.connect(self._ask_for_file)
        self.summary.disagreement_asked.connect(self._start_disagreeing)
        self._disagreeing.failed.connect(lambda error: self.run_bar.say(f"No disagreement was computed: {error}"))
        self._disagreeing.finished.connect(self._on_disagreement)
        self._job.reported.connect(self._on_report)
        self._job.failed.connect(lambda error: self.run_bar.say(f"Failed: {error}"))
        self._job.finished.connect(self._on_finished)
        self._summing.reported.connect(self._on_summary)
        self._exporting.reported.connect(lambda path: self.run_bar.say(f"Report written: {path}"))
        self._exporting.failed.connect(lambda error: self.run_bar.say(f"No report was written: {error}"))
        self._exporting.finished.connect(lambda _: self._update())
        self.closing.closed.connect(self._on_closed)
        self._viewer.dims.events.current_step.connect(self._follow_slider)
        self._viewer.layers.events.removed.connect(self._on_removed)
        self._viewer.events.theme.connect(self._on_theme)

    def _update(self) -> None:
        reason = ""
        if not self._job.is_running:
            try:
                self.settings.plan()
            except CareError as error:
                reason = str(error)
        self.run_bar.set_state(is_running=self._job.is_running, is_stopping=self._job.is_stopping, reason=reason)
        results = self.results
        self.summary.again.offer(
            None if results is None else lambda: record_of(results.plan, Path(REPORT), self._index())
        )
        self.summary.set_state(
            results,
            is_running=self._job.is_running,
            is_exporting=self._exporting.is_running or self._disagreeing.is_running,
            has_layer=results is not None and results.plan.source in self._viewer.layers,
        )

    def _start(self) -> None:
        if self._job.is_running:
            return
        try:
            plan = self.settings.plan()
        except CareError:
            # a layer has gone since the button was pressed
            self._update()
            return
        # the layer stays chosen when others are added
        self.settings.image.value = plan.source
        self.results, self._rows, self._clock = ComparisonResults(plan), [], Clock()
        self._summing.cancel()
        self.run_bar.show_progress(-1)
        self.run_bar.say("Starting…")
        self._job.start(self.results.run, title=f"Comparing on {plan.source.name}", fraction=_fraction)
        self._make_view()
        self.summary.clear()
        self._update()

    def _stop(self) -> None:
        self._job.stop()
        self.run_bar.say("Stopping…")
        self._update()

    def _on_report(self, step: Compared) -> None:
        results = self.results
        self.run_bar.show_progress(_fraction(step) or -1)
        if step.frame_index is not None:
            had_frames = bool(results.frames_done())
            results.record(step)
            self.view.note(step.frame_index)
            if step.method == results.plan.methods[-1].name:
                self._summarize()
            if bool(results.frames_done()) != had_frames:
                self._update()
        count = len(results.plan.indices)
        parts = [f"{len(results.frames_done())} of {count} frames"] if count > 1 else []
        if step.done:
            parts.append(f"{duration(self._clock.seconds_left(step.done, step.total))} left")
        self.run_bar.say(", ".join(parts) or "Starting…")

    def _on_finished(self, outcome: Outcome) -> None:
        results = self.results
        done, count = len(results.frames_done()), len(results.plan.indices)
        frames = f"{count} frame{'s' if count > 1 else ''}"
        if outcome is Outcome.DONE:
            methods = f"{len(results.plan.methods)} method{'s' if len(results.plan.methods) > 1 else ''}"
            models = [method.name for method in results.plan.methods if method.model is not None]
            notes = dict.fromkeys(note for name in models if (note := results.notes.get(name)))
            self.run_bar.say(" ".join([f"Compared {methods} on {frames} in {duration(self._clock.seconds)}.", *notes]))
        elif outcome is Outcome.STOPPED:
            self.run_bar.say(f"Stopped: {done} of {frames} {'is' if done == 1 else 'are'} compared.")
        self.view.set_running(False)
        self._summarize(is_last=True)
        self._update()

    def _summarize(self, *, is_last: bool = False) -> None:
        """Compute the table again, unless that is running and more frames will come."""
        results = self.results
        if results.frames_done() and (is_last or not self._summing.is_running):
            scores = results.copied_scores()
            self._summing.request(lambda: iter([summary_of(scores, results.plan)]))

    def _on_summary(self, rows: list[Row]) -> None:
        is_first, self._rows = not self._rows, rows
        self.summary.show_rows(rows, self.results, colours=panel_colours(self.results.plan.names, self._viewer.theme))
        self._update()
        if is_first:
            # it must be laid out before it can be scrolled to
            self._scrolling.start()

    def _make_view(self) -> None:
        # imported here: pyqtgraph takes a third of a second to load
        from napari_care_losses.widgets.compare.window.window import ComparisonView

        before, self.view = self.view, ComparisonView(self.results, self._viewer.theme, parent=self)
        if before is not None:
            self.view.restoreGeometry(before.saveGeometry())
            before.close()
            before.deleteLater()
        self.view.frame_chosen.connect(self._on_frame_chosen)
        self.view.set_running(True)
        self._follow_slider()
        self._open_view()

    def _open_view(self) -> None:
        self.view.setWindowState(self.view.windowState() & ~Qt.WindowState.WindowMinimized)
        self.view.show()
        self.view.raise_()

    def _copy(self) -> None:
        QApplication.clipboard().setText(table_text(self._rows))
        self.run_bar.say("Table copied: paste it into a spreadsheet.")

    def _start_disagreeing(self) -> None:
        results = self.results
        self.run_bar.say("Computing how far the restorations disagree…")
        self._disagreed = results
        self._disagreeing.start(results.disagreements, title=f"Disagreement on {results.plan.source.name}")
        self._update()

    def _on_disagreement(self, outcome: Outcome) -> None:
        results = self._disagreed
        if outcome is Outcome.DONE and results is self.results and results.plan.source in self._viewer.layers:
            results.add_disagreement(self._viewer)
            self.run_bar.say("Disagreement added as a layer.")
        self._update()

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Export report", REPORT, "Web pages (*.html)")
        if name:
            self.export(Path(name).with_suffix(".html"))

    def _index(self) -> int:
        """Return of the frames restored by every method, or of those to restore, the nearest to the frame shown."""
        found = self.results.frames_done() or self.results.plan.indices
        return min(found, key=lambda index: abs(index - self.view.index))

    def export(self, path: Path) -> None:
        """Write the report to a file in the background."""
        results, view = self.results, self.view
        if self._exporting.is_running:
            return
        index, line = self._index(), view.grid.line
        self.run_bar.say("Writing the report…")
        self._exporting.start(lambda: export(results, path, index, line), title=f"Writing {path.name}")
        self._update()

    def _follow_slider(self, _event: object = None) -> None:
        if self.view is not None:
            self.view.show_frame(shown_index(self.results.plan.source, self._viewer.dims))

    def _on_frame_chosen(self, index: int) -> None:
        plan = self.results.plan
        if plan.source in self._viewer.layers:
            show_frame(self._viewer.dims, plan.source, plan.frames.position(index))
        if self.view.index != index:
            self.view.show_frame(index)

    def _on_removed(self, _event: object) -> None:
        if self.results is None:
            return
        plan = self.results.plan
        used = [layer for layer in (plan.source, plan.truth_layer) if layer is not None]
        if self._job.is_running and any(layer not in self._viewer.layers for layer in used):
            self._stop()
        self._following.start()

    def _on_theme(self, event: Any) -> None:
        if self.view is not None:
            self.view.set_theme(event.value)
        self.settings.methods.set_theme(event.value)
        if self._rows:
            self._on_summary(self._rows)

    def _on_closed(self) -> None:
        for job in (self._job, self._exporting, self._disagreeing):
            job.stop()
        self._summing.cancel()
        if self.view is not None:
            self.view.close()


def _fraction(step: Compared) -> float | None:
    return step.done / step.total if step.total else None
