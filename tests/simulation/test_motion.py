from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_care_losses.errors import ParameterError
from napari_care_losses.simulation.microscope import Microscope
from napari_care_losses.simulation.motion import Motion, MovingCell
from napari_care_losses.simulation.pairs_and_movies import (
    PX_PER_UM,
    STRUCTURES,
    ImagingConditions,
    simulate_movie,
)
from napari_care_losses.simulation.structures import NO_SPOTS, Cell

SHAPE = (160, 192)
WALKERS = 400

every_structure = pytest.mark.parametrize("name", STRUCTURES)


def rng(seed=0):
    return np.random.default_rng(seed)


def correlation(a, b):
    return np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]


def moving(cell, frames=2, interval_s=1.0, motion=None, seed=0, px_per_um=PX_PER_UM, **options):
    times = np.arange(frames) * interval_s
    return MovingCell.drawn(cell, times, motion or Motion(), rng(seed), px_per_um=px_per_um, **options)


def largest_dendra():
    cells = STRUCTURES["dendra"].draw((512, 512), rng(3), 0.5)
    return max(cells, key=lambda each: float(each.density.sum()))


def dots(count=40, size=256):
    """Return a dim cell with bright dots, each of light 25, away from its edges."""
    density = np.full((size, size), 0.1, np.float32)
    for y, x in rng(1).integers(40, size - 40, (count, 2)):
        density[y - 1 : y + 2, x - 1 : x + 2] += 25 / 9
    return Cell(density=density, corner=(0, 0), spots=NO_SPOTS)


def vesicles(frames, interval_s, motion):
    """Return the places (T, N, 2) in um of vesicles."""
    cell = Cell(density=np.ones((8, 8), np.float32), corner=(0, 0), spots=np.zeros((WALKERS, 3), np.float32))
    return moving(cell, frames, interval_s, motion).spots / PX_PER_UM


@every_structure
def test_a_movie_shows_the_same_cells_moving(name):
    conditions = ImagingConditions(interval_s=5 * STRUCTURES[name].interval_s)
    low, high = simulate_movie(name, 15, SHAPE, conditions, seed=11)
    assert low.shape == high.shape == (15, *SHAPE)
    assert low.dtype == high.dtype == np.uint16
    assert correlation(low[10], high[10]) > 0.3
    near, far = correlation(high[0], high[1]), correlation(high[0], high[14])
    assert near > 0.7
    assert far < near - 0.001


@pytest.mark.parametrize("name", ["actin", "mitochondria", "dendra"])
def test_cells_crawl_as_fast_as_in_the_literature(name):
    cell = largest_dendra()
    speeds = []
    for seed in range(40):
        drift = moving(cell, 2, 0.4, STRUCTURES[name].motion, seed).drift
        speeds.append(np.linalg.norm(drift[1] - drift[0]) / PX_PER_UM / 0.4 * 60)
    assert min(speeds) > 0.05
    assert 0.2 < np.median(speeds) < 1.0
    assert max(speeds) < 1.0


@pytest.mark.parametrize(("zoom", "px"), [(1.0, 0.108), (0.33, 0.327)])
def test_speeds_are_those_of_the_sample_at_any_magnification(zoom, px):
    motion = Motion(crawl=(0.01, 0.01))
    drift = moving(largest_dendra(), 2, 10.0, motion, px_per_um=zoom * PX_PER_UM).drift
    assert np.linalg.norm(drift[1]) * px == pytest.approx(0.1, rel=0.01)


def test_a_shorter_interval_shows_the_same_motion_more_often():
    cell = largest_dendra()
    slow, fast = (moving(cell, frames, step, seed=7) for frames, step in ((21, 2.0), (41, 1.0)))
    for name in ("drift", "angle", "strain", "phase"):
        np.testing.assert_allclose(getattr(fast, name)[::2], getattr(slow, name), atol=1e-9)


def test_parts_of_a_cell_move_against_one_another_at_the_speed_of_the_flow():
    # a single line of light; its lateral speed is measured by its centre of mass, column by column
    density = np.zeros((401, 401), np.float32)
    density[200] = 1
    motion = Motion(crawl=(1e-9, 1e-9), turn=0.0, flow=(0.05, 0.05))
    cell = Cell(density=density, corner=(0, 0), spots=NO_SPOTS)
    moved = moving(cell, 60, 3.0, motion)
    still = dataclasses.replace(moved, strain=np.zeros(60))
    rows = np.arange(401)[:, None]
    frames = [still.at(index)[0].density[:, 60:340] for index in range(60)]
    centres = np.array([(frame * rows).sum(axis=0) / frame.sum(axis=0) for frame in frames]) / PX_PER_UM
    along_y = np.sqrt(np.mean(np.diff(centres, axis=0) ** 2)) / 3.0
    # the waves along both axes share the speed
    assert along_y * np.sqrt(2) == pytest.approx(0.05, rel=0.15)


class TestVesicles:
    def test_carried_ones_run_at_the_speed_stated(self):
        places = vesicles(100, 0.4, Motion(transport=(0.5, 0.5), diffusion=0.0, reach=1e6))
        speed = np.linalg.norm(np.diff(places, axis=0), axis=2) / 0.4
        running = speed > 0.01
        assert running.mean() == pytest.approx(0.3, abs=0.03)
        np.testing.assert_allclose(speed[running], 0.5, rtol=1e-6)

    @pytest.mark.parametrize("interval_s", [0.1, 1.0, 20.0])
    def test_the_share_carried_does_not_depend_on_the_interval(self, interval_s):
        places = vesicles(200, interval_s, Motion(transport=(0.5, 0.5), diffusion=0.0, reach=1e6))
        running = np.linalg.norm(np.diff(places, axis=0), axis=2) > 0.01 * interval_s
        assert running.mean() == pytest.approx(0.3, abs=0.03)

    def test_runs_last_as_long_as_stated(self):
        motion = Motion(transport=(0.5, 0.5), diffusion=0.0, run_s=4.0, reach=1e6)
        places = vesicles(4000, 0.1, motion)
        running = np.linalg.norm(np.diff(places, axis=0), axis=2) > 1e-3
        begun = (running[1:] & ~running[:-1]).sum()
        assert running[1:].sum() * 0.1 / begun == pytest.approx(4.0, rel=0.05)

    def test_the_others_diffuse(self):
        places = vesicles(20, 0.4, Motion(carried=0.0, diffusion=0.01, reach=1e6))
        # Einstein: <r2> = 4 D t in two dimensions
        squared = (places[-1] ** 2).sum(axis=1).mean()
        assert squared == pytest.approx(4 * 0.01 * 19 * 0.4, rel=0.15)

    def test_they_turn_back_at_their_reach(self):
        places = vesicles(300, 1.0, Motion(transport=(0.5, 0.5), diffusion=0.0, reach=2.0))
        reached = np.linalg.norm(places, axis=2)
        assert reached.max() <= 2.0 + 1e-9
        assert reached.max() > 1.9


class TestOrganelles:
    MOTION = Motion(organelles=0.2, transport=(0.2, 0.2), carried=0.9, run_s=100.0, diffusion=0.0)

    def test_a_cell_at_rest_is_put_together_again(self):
        cell = dots()
        moved = moving(cell, motion=self.MOTION)
        together = moved.cell.density + moved.organelles.at(0, cell.density.shape)
        np.testing.assert_allclose(together, cell.density, atol=1e-5)
        assert moved.cell.density.min() >= 0

    def test_they_take_their_light_along(self):
        cell = dots()
        moved = moving(cell, 6, 2.0, self.MOTION)
        lights = [moved.organelles.at(index, cell.density.shape) for index in range(6)]
        assert lights[0].sum() > 0.5 * 40 * 25
        assert [light.sum() for light in lights] == pytest.approx([lights[0].sum()] * 6, rel=0.01)
        assert correlation(lights[0], lights[5]) < 0.5

    def test_a_cell_without_structure_has_none(self):
        even = Cell(density=np.ones((64, 64), np.float32), corner=(0, 0), spots=NO_SPOTS)
        moved = moving(even, 3, motion=self.MOTION)
        np.testing.assert_allclose(moved.at(2)[0].density.max(), 1, rtol=1e-5)


def resting(cell, **changes):
    """Return a cell in one frame, at rest but for the changes."""
    zero = {"drift": np.zeros((1, 2)), "spots": np.zeros((1, len(cell.spots), 2)), "parting": np.zeros((1, 2))}
    angles = {name: np.zeros(1) for name in ("angle", "strain", "phase")}
    still = {"organelles": None, "waves": (2.0, 35.0, 42.0), "daughters": ()}
    return MovingCell(**{"cell": cell, **still, **zero, **angles, **changes})


def test_cells_at_rest_do_not_move_and_moved_cells_keep_their_light():
    cell = largest_dendra()
    (rest,) = resting(cell).at(0)
    np.testing.assert_allclose(rest.density, cell.density, atol=1e-4)
    np.testing.assert_allclose(rest.spots, cell.spots, atol=1e-3)
    (drifted,) = resting(cell, drift=np.array([[3.4, -7.0]])).at(0)
    assert drifted.corner == (cell.corner[0] + 3, cell.corner[1] - 7)
    assert drifted.density.sum() == pytest.approx(cell.density.sum(), rel=0.02)
    np.testing.assert_allclose(drifted.spots[:, :2] - cell.spots[:, :2], [[3.4, -7.0]] * len(cell.spots), atol=1e-3)


def test_a_dividing_cell_becomes_two_that_share_its_light():
    cell, minutes = largest_dendra(), 60
    found = (moving(cell, minutes, 60.0, seed=seed, divides=True) for seed in range(50))
    divided = next(each for each in found if each.daughters)
    assert len(divided.at(0)) == 1
    before, after = divided.at(0)[0], divided.at(59)
    assert len(after) == 2
    lights = [float(daughter.density.sum()) for daughter in after]
    assert sum(lights) == pytest.approx(before.density.sum(), rel=0.03)
    assert min(lights) > 0.3 * sum(lights)
    assert sum(len(daughter.spots) for daughter in after) == len(cell.spots)
    assert np.linalg.norm(divided.parting[59]) > 5


def test_bleaching_takes_the_share_stated():
    conditions = ImagingConditions(microscope=Microscope(background=0.0))
    _, high = simulate_movie("dendra", 6, SHAPE, conditions, seed=2, bleaching=0.5)
    _, steady = simulate_movie("dendra", 6, SHAPE, conditions, seed=2)
    kept = (high.mean(axis=(1, 2)) - 100) / (steady.mean(axis=(1, 2)) - 100)
    np.testing.assert_allclose(kept, 0.5 ** (np.arange(6) / 5), rtol=0.02)


def test_bad_movies_are_refused():
    with pytest.raises(ParameterError, match="frames"):
        simulate_movie("dendra", 0, (64, 64), seed=1)
    with pytest.raises(ParameterError, match="bleaching"):
        simulate_movie("dendra", 2, (64, 64), seed=1, bleaching=1.0)
