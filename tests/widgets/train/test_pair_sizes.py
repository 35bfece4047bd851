"""What the pair table says of images that are small, single, blank, or have pixels of another size."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures.train_widget import shown


def test_a_pair_smaller_than_a_patch_is_marked_while_another_is_larger(widget, viewer, stack) -> None:
    pairs, patch = widget.pairs, widget.form.editors["patch_size"]
    patch.value = 32
    small = [viewer.add_image(viewer.layers[name].data[:, :20], name=f"small {name}") for name in ("1 ms", "100 ms")]
    pairs.rows[0].choose(*small)
    assert "Left out" not in pairs.rows[0].verdict, "a training without any other pair is refused"
    pairs.add_row().choose(viewer.layers["1 ms"], viewer.layers["100 ms"])
    assert "Left out: smaller than a patch of 32 px." in pairs.rows[0].verdict
    assert "Left out" not in pairs.rows[1].verdict
    assert shown(pairs, 0)[0] == "⚠"
    patch.value = 16
    assert "Left out" not in pairs.rows[0].verdict


@pytest.mark.parametrize(("width", "advice"), [(3, "choose larger images"), (20, "choose a smaller patch size")])
def test_pairs_that_are_all_smaller_than_a_patch_are_refused_before_the_start(width, advice, widget, viewer) -> None:
    rng = np.random.default_rng(0)
    low, high = (viewer.add_image(rng.poisson(100, (4, 160, width)), name=name, rgb=False) for name in ("a", "b"))
    widget.form.editors["patch_size"].value = 32
    widget.pairs.rows[0].choose(low, high)
    assert shown(widget.pairs, 0)[0] == "✗"
    assert widget.pairs.rows[0].verdict.startswith(f"✗ 160 x {width} px are too small for patches of 32 px: {advice}")
    assert "too small for patches" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()
    widget.form.editors["patch_size"].value = 16
    assert (shown(widget.pairs, 0)[0] == "✗") == (width < 16)
    assert widget.run_bar.start_button.isEnabled() == (width > 16)


def test_a_single_image_that_holds_no_two_patches_is_refused_before_the_start(widget, viewer, layers, stack) -> None:
    pairs, patch = widget.pairs, widget.form.editors["patch_size"]
    patch.value = 32
    single = [viewer.add_image(layer.data[0], name=f"field {layer.name}") for layer in layers]
    pairs.rows[0].choose(*single)
    assert shown(pairs, 0)[0] == "✗"
    assert pairs.rows[0].verdict == (
        "✗ 40 x 52 px are too small for patches of 32 px. A single image is split into a part that trains and a part "
        "that validates, so it must be at least 64 x 32 px: choose a smaller patch size, or add another image."
    )
    assert "at least 64 x 32 px" in widget.run_bar.reason.text()
    assert not widget.run_bar.start_button.isEnabled()
    patch.value = 20
    assert pairs.rows[0].verdict.startswith("✓")
    patch.value = 32
    pairs.add_row().choose(*(viewer.add_image(layer.data[1][:, ::-1], name=f"other {layer.name}") for layer in layers))
    assert [row.verdict[0] for row in pairs.rows] == ["✓", "✓"]
    pairs.rows[1].choose(*(viewer.add_image(layer.data[:, :24], name=f"small {layer.name}") for layer in layers))
    assert "Left out: smaller than a patch" in pairs.rows[1].verdict
    assert "A single image is split" in pairs.rows[0].verdict, "what is left out does not train"


def test_the_only_frame_that_is_left_of_a_movie_is_a_single_image(widget, viewer, layers, stack, qtbot) -> None:
    widget.form.editors["patch_size"].value = 32
    flashed = stack.copy()
    flashed[1:] = 7
    widget.pairs.rows[0].choose(viewer.add_image(flashed, name="flashed"), layers[1])
    assert widget.run_bar.start_button.isEnabled(), "not all frames have been looked at"
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=180_000)
    assert "A single image is split" in widget.pairs.rows[0].verdict
    assert not widget.run_bar.start_button.isEnabled()


def test_a_blank_pair_is_left_out_while_another_is_usable(widget, viewer, layers, stack) -> None:
    pairs = widget.pairs
    flat = viewer.add_image(np.full_like(stack, 7), name="flat")
    pairs.rows[0].choose(flat, layers[1])
    said = "The low image is constant: there is nothing to learn from it."
    assert pairs.rows[0].verdict == f"✗ {said}"
    assert not widget.run_bar.start_button.isEnabled()
    pairs.add_row().choose(*layers)
    assert pairs.rows[0].verdict == f"⚠ Left out: {said}"
    assert shown(pairs, 0)[::3] == ["⚠", "Left out"]
    assert widget.run_bar.start_button.isEnabled()
    assert pairs.pairs() == [pairs.rows[1].source]
    widget.form.editors["patch_size"].value = 64
    assert pairs.rows[0].verdict.startswith("✗"), "now there is no other pair"


def test_pixel_sizes_that_differ_are_said_until_they_do_not(widget, viewer, layers, qtbot) -> None:
    row = widget.pairs.rows[0]
    for layer, size, units in ((layers[0], 0.13, "um"), (layers[1], 65, "nm")):
        layer.units = ("pixel", units, units)
        layer.scale = (1, size, size)
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=180_000)
    assert row.verdict.startswith(
        "⚠ 3 frames of 40 x 52 px. The low image has pixels of 0.13 x 0.13 µm, the high one of"
    )
    assert widget.run_bar.start_button.isEnabled()
    layers[0].scale = (1, 0.065, 0.065)
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=180_000)
    assert row.verdict == "✓ 3 frames of 40 x 52 px"
    layers[0].scale, layers[0].units = (1, 0.5, 0.5), ("pixel",) * 3
    qtbot.waitUntil(lambda: not widget.pairs.is_checking, timeout=180_000)
    assert row.verdict == "✓ 3 frames of 40 x 52 px", "an unknown size is no other one"
