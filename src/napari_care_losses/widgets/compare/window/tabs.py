"""The tabs beside the panels: profile, spectrum, Fourier ring correlation and the table of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.evaluation.spectra import THRESHOLD
from napari_care_losses.widgets.background.worker import LatestJob
from napari_care_losses.widgets.compare.colors import is_dashed
from napari_care_losses.widgets.compare.results import TITLES, TRUTH
from napari_care_losses.widgets.compare.tables import FrameTable
from napari_care_losses.widgets.compare.window.curves import PlotCurve, correlations, profiles, spectra, until_error
from napari_care_losses.widgets.compare.window.plots import CurvePlot, CurveStyle
from napari_care_losses.widgets.shared.events import SingleShot
from napari_care_losses.widgets.shared.form import Rows, narrow, tooltip
from napari_care_losses.widgets.shared.layout import arrange
from napari_care_losses.widgets.shared.number_edit import NumberEdit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from napari_care_losses.widgets.compare.results import ComparisonResults
    from napari_care_losses.widgets.compare.window.curves import CurveReport
    from napari_care_losses.widgets.compare.window.image_panel import Line

CURVES_DELAY_MS = 80
"""Curves are computed when nothing has changed for this time."""

TABLE_DELAY_MS = 200
"""Least time between two updates of the table."""

WIDEST_LINE = 99
"""Largest width of a profile, in pixels."""


class PanelContent(NamedTuple):
    """What the panels show: images or differences as drawn (arrays (Y, X) by panel), frame and line."""

    images: Mapping[str, NDArray[np.float32]]
    index: int
    line: Line


class CurveTabs(QTabWidget):
    """Plots what the panels show; only the visible tab is computed, in the background."""

    frame_chosen = Signal(int)
    """A frame was clicked in the table."""

    line_wanted = Signal(bool)
    """Whether the visible tab needs the line."""

    def __init__(
        self, results: ComparisonResults, theme: str, colours: Mapping[str, str], *, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._results = results
        self._pixel_size = results.plan.frames.calibration.square_pixel
        self._shown: PanelContent | None = None
        self._target: CurvePlot | None = None
        self._computing = LatestJob(parent=self, delay_ms=CURVES_DELAY_MS)
        self._computing.reported.connect(self._on_report)
        self._filling = SingleShot(self, TABLE_DELAY_MS, self._fill_table)
        self._build(theme)
        self.set_colours(colours)
        self.currentChanged.connect(self._on_tab_changed)

    @property
    def is_computing(self) -> bool:
        """Whether curves are being computed."""
        return self._computing.is_running

    def show_curves(self, shown: PanelContent) -> None:
        """Show the curves of what the panels show."""
        self._shown = shown
        self._request()

    def set_colours(self, colours: Mapping[str, str]) -> None:
        """Set the colour of every panel."""
        self._colours = dict(colours)
        methods = [name for name in colours if name not in (INPUT, TRUTH)]
        styles = {
            name: CurveStyle(TITLES.get(name, name), colour, name in methods and is_dashed(methods.index(name)))
            for name, colour in colours.items()
        }
        for plot in self.plots:
            plot.set_styles(styles)

    def set_theme(self, name: str) -> None:
        """Take the colours of one of napari's themes."""
        for plot in self.plots:
            plot.set_theme(name)

    def show_scores(self) -> None:
        """Update the table soon: many frames may arrive at once."""
        if not self._filling.isActive():
            self._filling.start()

    def _fill_table(self) -> None:
        if self.currentWidget() is self.table:
            self.table.show_scores(self._results.copied_scores(), self._colours)

    def _build(self, theme: str) -> None:
        length, frequency = ("µm", "1/µm") if self._pixel_size else ("px", "cycles/px")
        frequencies = f"spatial frequency ({frequency})"
        self.profile = CurvePlot(
            theme,
            horizontal=f"distance ({length})",
            vertical="grey level",
            help="Grey levels along the yellow line. Drag its ends, or Shift + drag in a panel to draw a new one.",
        )
        self.line_width = NumberEdit(
            min=1,
            max=WIDEST_LINE,
            is_whole=True,
            unit="px",
            label="Line width",
            tooltip=tooltip("Average over parallel lines: this reduces noise and keeps structure along the line."),
        )
        narrow(self.line_width).changed.connect(self._request)
        self._profile_tab = QWidget()
        parts = self.profile, Rows(self.line_width).native
        arrange(QVBoxLayout(self._profile_tab), *parts, growing=[self.profile], margins=(0, 4, 0, 0))
        self.spectrum = CurvePlot(
            theme,
            horizontal=frequencies,
            vertical="power",
            is_logarithmic=True,
            help="Power of the structures by size: coarse on the left, fine on the right. A curve below that of the "
            "ground truth has lost detail; a curve that stays high and flat on the right still contains noise.",
        )
        self.correlation = CurvePlot(
            theme,
            horizontal=frequencies,
            vertical="correlation with the ground truth",
            threshold=THRESHOLD,
            limits=(0.0, 1.0),
            help="Agreement with the ground truth by the size of structures (Fourier ring correlation): 1 is full "
            "agreement; at 0 the structure is lost or invented. The resolution beside each name is where the curve "
            "falls below 1/7, the dashed line.",
        )
        self.table = FrameTable()
        self.table.frame_chosen.connect(self.frame_chosen)
        self.plots = [self.profile, self.spectrum, self.correlation]
        self.addTab(self._profile_tab, "Profile")
        self.addTab(self.spectrum, "Spectrum")
        if self._results.plan.truth is not None:
            self.addTab(self.correlation, "Fourier ring correlation")
        self.addTab(self.table, "Table")

    def _on_tab_changed(self, _index: int) -> None:
        self.line_wanted.emit(self.currentWidget() is self._profile_tab)
        self._request()
        self._fill_table()

    def _request(self) -> None:
        """Compute the curves of the visible tab."""
        shown, results, pixel_size, width = self._shown, self._results, self._pixel_size, self.line_width.value
        if shown is None:
            return
        self.table.show_frame(shown.index)
        makers = {
            self._profile_tab: (self.profile, lambda: profiles(shown.images, shown.line, width, pixel_size)),
            self.spectrum: (self.spectrum, lambda: spectra(shown.images, pixel_size)),
            self.correlation: (self.correlation, lambda: correlations(results, shown.images, shown.index)),
        }
        if not shown.images or self.currentWidget() not in makers:
            self._computing.cancel()
            return
        self._target, make_iterator = makers[self.currentWidget()]
        self._target.keep(shown.images)
        self._computing.request(lambda: until_error(make_iterator()))

    def _on_report(self, report: CurveReport) -> None:
        if isinstance(report, PlotCurve):
            self._target.say("")
            self._target.show_curve(report)
        else:
            self._target.keep(())
            self._target.say(report)
