from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.theme import get_theme
from qtpy.QtCore import QPointF, Qt

from napari_care_losses.evaluation.frame_scores import INPUT, RESTORED
from napari_care_losses.widgets.layers.conversion import shown_index
from napari_care_losses.widgets.restore.scores.time_axis import move_slider, time_axis
from napari_care_losses.widgets.restore.scores.time_plot import COLOURS, TimePlot


@pytest.fixture
def plot(qtbot) -> TimePlot:
    plot = TimePlot("dark")
    qtbot.addWidget(plot)
    plot.set_quantities({"psnr": "PSNR (dB)", "ssim": "SSIM"})
    plot.set_axis("time (s)", 3 + 0.5 * np.arange(8))
    plot.resize(340, 180)
    plot.show()
    qtbot.waitExposed(plot)
    return plot


def click(plot: TimePlot, value: float, button: Qt.MouseButton = Qt.MouseButton.LeftButton) -> None:
    """Click into the plot at a value of its axis, as pyqtgraph's scene reports it."""
    scene = plot.plot.getPlotItem().vb.mapViewToScene(QPointF(value, 0.5))
    plot.plot.scene().sigMouseClicked.emit(SimpleNamespace(button=lambda: button, scenePos=lambda: scene))


@pytest.mark.parametrize(("value", "step"), [(3.0, 0), (4.7, 3), (4.8, 4), (6.5, 7), (99.0, 7), (-5.0, 0)])
def test_a_click_tells_the_nearest_frame(plot, qtbot, value, step) -> None:
    plot.set_lines({RESTORED: np.linspace(0, 1, 8)})
    with qtbot.waitSignal(plot.clicked) as blocker:
        click(plot, value)
    assert blocker.args == [step]


def test_a_click_with_another_button_does_nothing(plot, qtbot) -> None:
    with qtbot.assertNotEmitted(plot.clicked):
        click(plot, 4.0, Qt.MouseButton.RightButton)


def test_frames_that_are_missing_are_gaps(plot) -> None:
    values = np.array([1, np.nan, 2, 3, np.nan, np.nan, 4, 5.0])
    plot.set_lines({RESTORED: values})
    x, y = plot.lines[RESTORED].getData()
    assert np.array_equal(y, values, equal_nan=True)
    assert np.array_equal(x, 3 + 0.5 * np.arange(8))
    assert plot.lines[INPUT].getData()[0] is None or not len(plot.lines[INPUT].getData()[0])
    assert [plot.legend[row].isVisible() for row in (INPUT, RESTORED)] == [False, True]


def test_nothing_known_yet_can_be_drawn(plot, qtbot) -> None:
    plot.set_lines({INPUT: np.full(8, np.nan), RESTORED: np.full(8, np.nan)})
    plot.grab()
    plot.set_lines({INPUT: np.ones(8), RESTORED: np.full(8, np.nan)})
    plot.grab()


def test_the_means_of_the_frames_known_of_both_are_written_below(plot) -> None:
    values = np.array([20, np.nan, 24, 26, np.nan, np.nan, np.nan, np.nan])
    plot.set_lines({INPUT: values, RESTORED: np.where(np.arange(8) > 2, 10 + values, np.nan)})
    assert not plot.means.isVisible()
    plot.set_lines({INPUT: values, RESTORED: 10 + values})
    assert plot.means.text() == "Mean over 3 frames: input 23.33, restored 33.33"
    plot.set_lines({INPUT: values, RESTORED: np.full(8, np.nan)})
    assert plot.means.text() == "Mean over 3 frames: input 23.33"
    plot.set_lines({})
    assert not plot.means.isVisible()


def test_small_values_look_small_where_that_is_asked_for(plot) -> None:
    def shown() -> list[float]:
        plot.grab()
        return plot.plot.getPlotItem().vb.viewRange()[1]

    values = np.array([0, 0, 0.1, 0, 0, np.nan, 0, 0])
    plot.set_lines({RESTORED: values}, least_top=2)
    assert shown() == pytest.approx([-0.1, 2.1])
    plot.set_lines({RESTORED: 100 * values}, least_top=2)
    assert shown() == pytest.approx([-0.5, 10.5])
    plot.set_lines({RESTORED: values})
    assert shown()[1] < 0.2


def test_a_single_frame_among_many_is_seen(plot) -> None:
    plot.set_axis("frame", np.arange(1000.0))
    values = np.full(1000, np.nan)
    values[500] = 1
    plot.set_lines({RESTORED: values})
    assert plot.lines[RESTORED].opts["symbol"] == "o"
    plot.set_lines({RESTORED: np.ones(1000)})
    assert plot.lines[RESTORED].opts["symbol"] is None


def test_the_shown_frame_is_marked(plot) -> None:
    plot.set_shown(4)
    assert plot.marker.value() == 5.0


def test_the_figure_chosen_stays_while_it_is_offered(plot, qtbot) -> None:
    with qtbot.waitSignal(plot.chosen):
        plot.quantity.native.setCurrentIndex(1)
    with qtbot.assertNotEmitted(plot.chosen):
        plot.set_quantities({"psnr": "PSNR (dB)", "ssim": "SSIM"})
        assert plot.quantity.value == "ssim"
        plot.set_quantities({"structure": "Structure left (%)", "ssim": "SSIM"})
        assert plot.quantity.value == "ssim"
        plot.set_quantities({"structure": "Structure left (%)"})
        assert plot.quantity.value == "structure"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_themes(plot, theme) -> None:
    plot.set_theme(theme)
    image = plot.plot.grab().toImage()
    corner = image.pixelColor(1, 1)
    assert corner.name() == get_theme(theme).background.as_hex(format="long")
    assert set(COLOURS) == {INPUT, RESTORED}


@pytest.mark.parametrize(
    ("shape", "options", "label", "length", "stride", "is_time"),
    [
        ((5, 8, 8), {}, "frame", 5, 1, True),
        ((5, 8, 8), {"axis_labels": ("t", "y", "x"), "units": ("s", "um", "um")}, "time (s)", 5, 1, True),
        ((5, 8, 8), {"axis_labels": ("field", "y", "x")}, "field", 5, 1, False),
        ((5, 8, 8), {"axis_labels": ("z", "y", "x"), "units": ("um", "um", "um")}, "z (µm)", 5, 1, False),
        ((5, 8, 8), {"axis_labels": ("z", "y", "x")}, "z", 5, 1, False),
        ((5, 3, 2, 8, 8), {}, "frame", 5, 6, True),
        ((1, 3, 2, 8, 8), {}, "plane", 3, 2, False),
        ((2, 5, 8, 8), {"axis_labels": ("c", "t", "y", "x")}, "frame", 5, 1, True),
    ],
)
def test_the_axis_plotted_over(viewer, shape, options, label, length, stride, is_time) -> None:
    axis = time_axis(viewer.add_image(np.zeros(shape), **options))
    assert (axis.label, axis.length, axis.stride, axis.is_time) == (label, length, stride, is_time)
    index = 3 % length * stride
    assert axis.step_of(index) == 3 % length
    assert axis.line(index)[axis.step_of(index)] == index
    assert len(axis.line(index)) == length


@pytest.mark.parametrize(
    ("shape", "labels"), [((8, 8), ("y", "x")), ((1, 8, 8), ("t", "y", "x")), ((2, 8, 8), ("c", "y", "x"))]
)
def test_a_single_image_has_no_such_axis(viewer, shape, labels) -> None:
    assert time_axis(viewer.add_image(np.zeros(shape), axis_labels=labels)) is None


def test_values_are_those_of_the_layer(viewer) -> None:
    layer = viewer.add_image(np.zeros((4, 8, 8)), scale=(0.5, 1, 1), translate=(3, 0, 0), units=("s", "um", "um"))
    assert time_axis(layer).values().tolist() == [3, 3.5, 4, 4.5]
    layer.units = ("pixel", "um", "um")
    assert time_axis(layer).values().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((5, 8, 8), {}),
        ((5, 8, 8), {"scale": (0.4, 0.1, 0.1), "translate": (7, 3, 4)}),
        ((3, 2, 4, 8, 8), {"scale": (2, 0.3, 1, 0.1, 0.1), "translate": (1, 0, 5, 0, 0)}),
        ((3, 4, 8, 8), {"scale": (1, -0.5, 1, 1)}),
        ((4, 8, 8), {"rotate": 30}),
    ],
)
@pytest.mark.parametrize("others", [(), ((2, 3, 4, 5, 6, 8, 8),)])
def test_move_slider_is_the_inverse_of_shown_index(shape, options, others) -> None:
    viewer = ViewerModel()
    for other in others:
        viewer.add_image(np.zeros(other))
    layer = viewer.add_image(np.zeros(shape), **options)
    indices = range(int(np.prod(shape[:-2])))
    for index in (*indices, *reversed(indices)):
        move_slider(viewer, layer, index)
        assert shown_index(layer, viewer.dims) == index


def test_move_slider_leaves_other_sliders_alone(viewer) -> None:
    viewer.add_image(np.zeros((6, 3, 8, 8)))
    layer = viewer.add_image(np.zeros((3, 8, 8)))
    viewer.dims.set_point(0, 4)
    move_slider(viewer, layer, 2)
    assert viewer.dims.point[:2] == (4, 2)


def test_move_slider_of_a_multiscale_layer_counts_its_full_resolution(viewer) -> None:
    layer = viewer.add_image([np.zeros((4, 64, 64)), np.zeros((4, 32, 32))], multiscale=True, scale=(3, 1, 1))
    move_slider(viewer, layer, 2)
    assert viewer.dims.point[0] == 6
    assert shown_index(layer, viewer.dims) == 2
