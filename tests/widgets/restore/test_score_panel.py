from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fixtures.scored_layers import FRAMES, PSNR, SHAPE, SSIM, Bench, Slow, is_seen
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication

from napari_care_losses.evaluation import frame_scores
from napari_care_losses.evaluation.frame_scores import CONTRADICTIONS, INPUT, LIMIT, RESTORED
from napari_care_losses.evaluation.metrics import METRICS
from napari_care_losses.evaluation.without_truth.decorrelation import decorrelation_resolution
from napari_care_losses.evaluation.without_truth.residual import structure_left
from napari_care_losses.widgets.background.attention import Attention
from napari_care_losses.widgets.layers.conversion import shown_index
from napari_care_losses.widgets.restore.scores import background_scores as judging
from napari_care_losses.widgets.restore.scores.panel import ScorePanel


@pytest.fixture
def bench(viewer, qtbot) -> Bench:
    return Bench(viewer, qtbot)


def test_scores_of_all_frames_are_those_of_the_metrics(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0, 1, 3, 5)
    assert bench.shown()[PSNR] == f"{bench.expected(0)['psnr']:.2f}"
    expected = [bench.expected(index)["psnr"] if index in bench.done else np.nan for index in range(FRAMES)]
    assert np.allclose(bench.plotted(), expected, equal_nan=True)
    assert np.isnan(bench.plotted(INPUT)).tolist() == np.isnan(expected).tolist()
    bench.panel.plot.quantity.native.setCurrentIndex(1)
    assert bench.plotted()[3] == pytest.approx(bench.expected(3)["ssim"])
    bench.panel.of_truth.aligned.value = False
    bench.wait()
    assert bench.plotted()[3] == pytest.approx(bench.expected(3, aligned=False)["ssim"])
    assert bench.shown()[SSIM] == f"{bench.expected(0, aligned=False)['ssim']:.3f}"


def test_a_slider_that_comes_back_finds_the_figures_at_once(bench, qtbot) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(*range(FRAMES))
    for index in (4, 2, 4):
        with qtbot.waitSignal(bench.panel.scored, timeout=10):
            bench.viewer.dims.set_current_step(0, index)
        assert not bench.panel.is_busy
        assert bench.shown()[PSNR] == f"{bench.expected(index)['psnr']:.2f}"
        assert bench.panel.of_truth.heading.text() == f"Frame {index}"
        assert bench.panel.plot.marker.value() == index


def test_the_shown_frame_comes_first_and_others_make_way(bench, qtbot) -> None:
    slow = Slow(bench.data)
    bench.restored.data = slow
    bench.panel.truth.value = bench.truth
    bench.wait()
    slow.go.clear()
    bench.done.update(range(FRAMES))
    bench.viewer.dims.set_current_step(0, 3)
    qtbot.waitUntil(lambda: slow.read == [3], timeout=30_000)
    bench.viewer.dims.set_current_step(0, 5)
    assert bench.panel.is_scoring
    left: list[int] = []
    bench.panel.scored.connect(lambda: left.append(len(bench.panel._background.timeline.missing(3))))
    # the work on frame 3 is told to stop before it can go on
    QApplication.processEvents()
    slow.go.set()
    bench.wait()
    assert slow.read[:2] == [3, 5]
    assert sorted(set(slow.read[2:])) == [0, 1, 2, 3, 4]
    # at most one more figure of the frame left behind was made
    assert left[0] >= 2
    assert bench.shown()[PSNR] == f"{bench.expected(5)['psnr']:.2f}"


def test_old_figures_stay_under_their_own_number(bench, qtbot) -> None:
    slow = Slow(bench.data)
    bench.restored.data = slow
    bench.panel.truth.value = bench.truth
    bench.done.update({0, 1})
    bench.follow()
    bench.wait()
    before = bench.shown()
    bench.panel.frame_done(2)
    slow.go.clear()
    bench.viewer.dims.set_current_step(0, 2)
    assert (bench.shown(), bench.panel.of_truth.heading.text()) == (before, "Frame 0")
    qtbot.waitUntil(lambda: bench.panel.of_truth.heading.text() == "Frame 2", timeout=30_000)
    assert bench.shown()[PSNR] == "-"
    slow.go.set()
    bench.wait()


def test_a_frame_restored_anew_is_scored_anew(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0, 1)
    before = bench.shown()
    bench.data[:2] = bench.truth_data[:2] + np.random.default_rng(1).normal(0, 9, (2, 40, 48))
    bench.follow()
    bench.wait()
    assert bench.shown() == before
    bench.restore(0, 1)
    assert bench.shown()[PSNR] == f"{bench.expected(0)['psnr']:.2f}" != before[PSNR]
    assert bench.plotted()[1] == pytest.approx(bench.expected(1)["psnr"])


def test_other_data_in_a_layer_are_scored_anew(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0, 1)
    bench.truth_data = bench.truth_data**1.5
    bench.truth.data = bench.truth_data
    bench.wait()
    assert bench.shown()[PSNR] == f"{bench.expected(0)['psnr']:.2f}"
    assert bench.plotted()[1] == pytest.approx(bench.expected(1)["psnr"])


def test_a_restoration_that_starts_again_has_no_frames_yet(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0, 1)
    bench.restored.data = np.zeros(SHAPE, np.float32)
    bench.wait()
    assert bench.shown()[PSNR] == "-"
    assert bench.panel.message.text() == "This frame is not restored yet."
    assert not len(bench.plotted())


def test_the_caller_may_know_of_the_shown_frame_alone(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.panel.show_frame(bench.source, bench.restored, 2)
    bench.wait()
    assert bench.shown()[PSNR] == f"{bench.expected(2)['psnr']:.2f}"
    bench.panel.show_frame(bench.source, None, 2)
    bench.wait()
    assert bench.shown()[PSNR] == "-"


def test_with_a_truth_grey_levels_and_uncertainty_are_told(bench) -> None:
    bench.uncertainty = bench.viewer.add_image(np.full(SHAPE, 2 / np.sqrt(2), np.float32))
    bench.panel.truth.value = bench.truth
    bench.restore(0)
    of_truth = bench.panel.of_truth
    assert "slope 1.00" in of_truth.levels.text()
    told = of_truth.coverage.text().replace("\N{NO-BREAK SPACE}", " ")
    assert told.startswith("Uncertainty: ")
    assert told.endswith(" within the 90 %")
    assert " % of true pixels within the 50 % interval, " in told
    bench.uncertainty = None
    bench.follow()
    bench.wait()
    assert not is_seen(of_truth.coverage, bench.panel)
    assert is_seen(of_truth.levels, bench.panel)


def test_without_a_truth_nothing_of_it_is_seen(bench) -> None:
    panel = bench.panel
    bench.restore(0, 1)
    share = structure_left(bench.input_data[0], bench.data[0])
    assert panel.blind.structure.text().startswith("Structure left in the residual: ")
    assert share < 0.02
    assert panel.blind.structure.text().endswith("(little signal lost)")
    assert not is_seen(panel.of_truth, panel)
    expected = decorrelation_resolution(bench.data[0])
    assert f"restored {expected:.2f} px" in panel.blind.resolution.text()
    bench.source.scale = (1, 0.1, 0.1)
    bench.source.units = ("s", "um", "um")
    bench.follow()
    bench.wait()
    assert f"restored {expected / 10:.3f} µm" in panel.blind.resolution.text()
    assert [panel.plot.quantity.native.itemText(i) for i in range(panel.plot.quantity.native.count())] == [
        "Structure left (%)",
        "Mean brightness",
        "Estimated PSNR (dB)",
    ]
    assert bench.plotted()[0] == pytest.approx(100 * share)
    panel.plot.quantity.native.setCurrentIndex(1)
    assert bench.plotted(INPUT)[1] == pytest.approx(bench.input_data[1].mean())
    panel.truth.value = bench.truth
    bench.wait()
    assert is_seen(panel.of_truth, panel)
    assert not is_seen(panel.blind, panel)
    assert panel.plot.quantity.native.itemText(0) == "PSNR (dB)"


def test_lost_signal_is_told(bench) -> None:
    bench.data[:] = bench.truth_data.mean() + 0.1 * (bench.data - bench.data.mean())
    bench.data[:, :, 24:] = bench.truth_data.mean()
    bench.restore(0)
    assert bench.panel.blind.structure.text().endswith("(much signal lost)")


def test_flicker_is_told_of_movies_from_three_frames_on(bench) -> None:
    flicker = bench.panel.blind.flicker
    bench.restore(0, 1, 3)
    assert flicker.text() == ""
    bench.restore(2)
    assert flicker.text().endswith("(steady)")
    bench.data[::2] += 60
    bench.restore(*range(FRAMES))
    assert flicker.text().endswith("(flickers)")


def test_fields_of_view_do_not_flicker(viewer, qtbot) -> None:
    bench = Bench(viewer, qtbot, axis_labels=("field", "y", "x"))
    bench.restore(*range(FRAMES))
    assert bench.panel.blind.flicker.text() == ""
    assert bench.panel.plot.plot.getAxis("bottom").labelText == "field"


def test_a_single_image_has_no_plot(viewer, qtbot) -> None:
    bench = Bench(viewer, qtbot)
    for layer, data in (
        (bench.truth, bench.truth_data),
        (bench.source, bench.input_data),
        (bench.restored, bench.data),
    ):
        layer.data = data[0]
    bench.panel.truth.value = bench.truth
    bench.restore(0)
    assert bench.shown()[PSNR] == f"{bench.expected(0)['psnr']:.2f}"
    assert bench.panel.of_truth.heading.text() == ""
    assert not is_seen(bench.panel.plot, bench.panel)


@pytest.mark.parametrize(("step", "index"), [(2, 2 * 6 + 3), (0, 3)])
def test_a_click_on_the_plot_moves_the_slider_along_time_alone(viewer, qtbot, step, index) -> None:
    bench = Bench(viewer, qtbot)
    rng = np.random.default_rng(0)
    for layer in (bench.truth, bench.source, bench.restored):
        viewer.layers.remove(layer)
    bench.source = viewer.add_image(
        rng.random((3, 2, 3, 16, 16)), scale=(0.5, 2, 1, 0.1, 0.1), translate=(1, 0, 0, 0, 0)
    )
    bench.restored = viewer.add_image(rng.random((3, 2, 3, 16, 16)), scale=(0.5, 2, 1, 0.1, 0.1))
    viewer.dims.set_point([0, 1, 2], [1.5, 2, 0])
    bench.restore(9, 3, 4)
    assert shown_index(bench.source, viewer.dims) == 9
    assert np.isnan(bench.plotted()).tolist() == [False, False, True]
    bench.panel.plot.clicked.emit(step)
    assert viewer.dims.point[:3] == (1 + 0.5 * step, 2, 0)
    assert shown_index(bench.source, viewer.dims) == index
    bench.wait()


def test_frames_that_do_not_fit_are_explained(bench) -> None:
    bench.restore(0)
    bench.panel.truth.value = bench.viewer.add_image(np.zeros((2, 40, 48)), visible=False)
    assert "2 x 40 x 48, the input 6 x 40 x 48" in bench.panel.message.text()
    assert not bench.panel.is_scoring
    assert not is_seen(bench.panel.plot, bench.panel)
    bench.panel.truth.value = bench.source
    assert "are the same layer" in bench.panel.message.text()
    bench.panel.truth.value = bench.truth
    bench.wait()
    assert bench.panel.message.text() == ""
    assert is_seen(bench.panel.plot, bench.panel)


def test_an_unexpected_error_is_told_once(bench, monkeypatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("no such thing")
        yield

    notified: list[object] = []
    monkeypatch.setattr(notification_manager, "receive_error", lambda *error: notified.append(error))
    with monkeypatch.context() as patched:
        patched.setattr(judging, "score_frame", fail)
        bench.restore(*range(FRAMES))
        assert len(notified) == 1
        assert "no such thing" in bench.panel.message.text()
    bench.panel.truth.value = bench.truth
    bench.wait()
    assert bench.shown()[PSNR] == f"{bench.expected(0)['psnr']:.2f}"


def test_removed_layers_are_let_go(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0)
    bench.viewer.layers.remove(bench.restored)
    bench.wait()
    assert bench.shown()[PSNR] == "-"
    bench.viewer.layers.remove(bench.truth)
    bench.viewer.layers.remove(bench.source)
    assert not is_seen(bench.panel.of_truth, bench.panel)
    assert not is_seen(bench.panel.plot, bench.panel)


def test_the_theme_is_followed(bench) -> None:
    bench.restore(0)
    bench.viewer.theme = "light"
    light = bench.panel.plot.plot.backgroundBrush().color().name()
    bench.viewer.theme = "dark"
    assert bench.panel.plot.plot.backgroundBrush().color().name() != light


def test_stopped_it_judges_nothing_more(bench) -> None:
    bench.panel.stop()
    bench.panel.truth.value = bench.truth
    bench.restore(0, 1)
    assert bench.scored == 0
    assert bench.shown()[PSNR] == "-"


def test_closing_the_viewer_while_frames_are_judged(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    data = np.random.default_rng(0).random((20, 64, 64)).astype(np.float32)
    slow = Slow(data)
    source, restored = viewer.add_image(data), viewer.add_image(slow)
    panel = ScorePanel(viewer)
    viewer.window.add_dock_widget(panel, name="Quality")
    slow.go.clear()
    panel.show_frame(source, restored, 0, done=set(range(20)))
    qtbot.waitUntil(lambda: bool(slow.read), timeout=30_000)
    del panel
    viewer.close()
    slow.go.set()


def test_a_truth_with_an_axis_of_one_step_scores_the_same(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0, 3)
    expected = bench.shown()[PSNR]
    bench.panel.truth.value = bench.viewer.add_image(bench.truth_data[:, None], name="single steps", visible=False)
    bench.wait()
    assert bench.panel.message.text() == ""
    assert bench.shown()[PSNR] == expected
    bench.panel.truth.value = bench.viewer.add_image(bench.truth_data[0], name="one frame", visible=False)
    bench.wait()
    assert bench.shown()[PSNR] == expected


def test_more_metrics_are_computed_when_asked_for(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0, 1)
    assert bench.shown()[RESTORED, "rse"] == "-"
    assert not bench.panel.of_truth.titles["rse"].isVisibleTo(bench.panel)
    bench.panel.of_truth.more.value = True
    bench.wait()
    expected = bench.expected(0)
    shown = {name: bench.shown()[RESTORED, name] for name in expected}
    assert shown == {name: METRICS[name].text(value, is_short=True) for name, value in expected.items()}
    assert all(title.isVisibleTo(bench.panel) for title in bench.panel.of_truth.titles.values())
    # lower is better
    bold = {row: bench.panel.of_truth.values[row, "rse"].font().bold() for row in (INPUT, RESTORED)}
    assert bold == {INPUT: False, RESTORED: True}


def test_a_truth_that_differs_from_the_input_in_more_than_noise_is_named(bench) -> None:
    bench.panel.truth.value = bench.truth
    bench.restore(0)
    assert not bench.panel.of_truth.limit.text()
    bench.truth.data = bench.truth_data * np.linspace(0.5, 1.5, 48)
    bench.wait()
    limit = bench.panel._background.timeline.frame(0).limit
    assert limit.differs
    assert f"in more than noise: a noiseless input would have {limit.psnr:.2f} dB" in bench.panel.of_truth.limit.text()
    assert is_seen(bench.panel.of_truth.limit, bench.panel)
    bench.panel.truth.value = None
    bench.wait()
    assert not is_seen(bench.panel.of_truth.limit, bench.panel)


def test_of_a_large_frame_about_the_ssim_is_shown_first(bench, qtbot, monkeypatch) -> None:
    monkeypatch.setattr(frame_scores, "AT_ONCE", SHAPE[-1] * SHAPE[-2] - 1)
    shown: list[list[str]] = []
    bench.panel.approximated.connect(lambda: shown.append(bench.shown()))
    bench.panel.truth.value = bench.truth
    bench.restore(0)
    expected = f"{bench.expected(0)['ssim']:.3f}"
    # of a small frame, the part is the whole
    assert shown and f"\N{ALMOST EQUAL TO} {expected}" in (shown[0][SSIM], shown[-1][SSIM])
    assert bench.shown()[SSIM] == expected


def test_while_somebody_uses_the_viewer_beside_long_work_only_what_is_looked_at_is_scored(
    bench, qtbot, monkeypatch
) -> None:
    monkeypatch.setattr(Attention, "is_given", True)
    timeline = bench.panel._background.timeline
    bench.panel.truth.value = bench.truth
    bench.done.update(range(FRAMES))
    with qtbot.waitSignal(bench.panel.scored, timeout=30_000):
        bench.follow()
    qtbot.waitUntil(lambda: not {key.kind for key in timeline.missing(0)} - {LIMIT, CONTRADICTIONS}, timeout=30_000)
    assert bench.shown()[PSNR] == f"{bench.expected(0)['psnr']:.2f}"
    assert bench.panel.is_busy
    qtbot.wait(2 * judging.LOOK_AGAIN_MS)
    assert {key.kind for key in timeline.missing(0)} == {LIMIT, CONTRADICTIONS}
    assert all(timeline.missing(index) for index in range(1, FRAMES))
    monkeypatch.setattr(Attention, "is_given", False)
    bench.wait()
    assert not any(timeline.missing(index) for index in range(FRAMES))
