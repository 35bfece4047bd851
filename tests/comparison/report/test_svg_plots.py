"""The line plots of the reports."""

import math
import re

import numpy as np
import pytest

from napari_care_losses.comparison.report.svg_plots import Axis, PlotLine, nice_step, plot


def test_lines_are_drawn_to_scale_and_broken_at_missing_values():
    x, y = np.arange(5.0), np.array([0, 1, math.nan, 1, 0.5])
    drawing = plot([PlotLine("a<b", x, y, "#123456")], Axis("x", (0, 4)), Axis("y", (0, 1)))
    path = re.search(r'<path d="([^"]+)"', drawing)[1]
    assert re.findall("[ML]", path) == ["M", "L", "M", "L"]
    points = [tuple(map(float, point)) for point in re.findall(r"([\d.]+) ([\d.]+)", path)]
    frame = re.search(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', drawing)
    left, top, width, height = map(float, frame.groups())
    assert points[0] == pytest.approx((left, top + height))
    assert points[1] == pytest.approx((left + width / 4, top), abs=0.1)
    assert points[3] == pytest.approx((left + width, top + height / 2), abs=0.1)
    assert "a&lt;b" in drawing


def test_a_logarithmic_axis_has_a_tick_for_each_decade():
    drawing = plot([PlotLine("a", np.arange(3.0), np.array([0, 0.1, 1000]), "red")], Axis("x"), Axis("y", None, True))
    assert re.findall("10[\u2070-\u207b\u00b9\u00b2\u00b3]+", drawing) == ["10⁻¹", "10⁰", "10¹", "10²", "10³"]


def test_steps_are_round():
    assert [nice_step(about) for about in (0.03, 0.5, 1, 1.1, 4, 7)] == pytest.approx([0.05, 0.5, 1, 2, 5, 10])
