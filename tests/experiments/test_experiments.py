"""Experiments: described as data, run and resumed, shared networks, honest statistics."""

import json
import math
import shutil
from functools import cache
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from fixtures.toy_trainings import ARCHITECTURE

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.errors import InputError
from napari_care_losses.experiments import runner
from napari_care_losses.experiments.entries import paper_experiments, read_experiments
from napari_care_losses.experiments.overview import overview_tables, write_overview
from napari_care_losses.experiments.pair_sets import FileSet, SimulatedSet
from napari_care_losses.experiments.results import load_result
from napari_care_losses.experiments.runner import run_experiment
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.models.architecture import PRESETS
from napari_care_losses.models.model import read_card
from napari_care_losses.simulation import pairs_and_movies
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES
from napari_care_losses.training.parameters import TrainingParameters

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TRAINING = TrainingParameters(
    preset="lite", budget="steps", amount=6, steps_per_epoch=3, patch_size=16, batch_size=2, validation_patches=4
)
FIELDS = 'train = { structure = "actin", low_ms = 1, high_ms = 100, fields = 4, seed = 5, size = 48 }\n'
TEST = 'test = { structure = "actin", low_ms = 1, high_ms = 100, fields = 3, seed = 50, size = 48 }\n'
TINY = f'[tiny]\n{FIELDS}{TEST}losses = ["laplace", "fft"]\nbaselines = ["tv"]\n'
MOVIE = TINY.replace("fields = 3", "frames = 3").replace("[tiny]", "[movie]")
NEIGHBOURS = MOVIE.replace(
    'losses = ["laplace", "fft"]',
    'methods = [{ name = "fft", loss = "fft" }, { name = "more", loss = "fft", training = { neighbours = 2 } }]',
)
LIGHT = (
    f'[light]\n{FIELDS.replace("low_ms = 1", "low_ms = [0.1, 1]")}losses = ["fft"]\nbaselines = []\n'
    'threshold = { metric = "ssim", value = 0.5 }\n[light.tests]\n'
    + "".join(
        f'"{ms}" = {{ structure = "actin", low_ms = {ms}, high_ms = 100, fields = 2, seed = 50, size = 48 }}\n'
        for ms in (1, 0.1, 100)
    )
)


FIELD, MOVIE_OF_CELLS = cache(pairs_and_movies.simulate_pair), cache(pairs_and_movies.simulate_movie)


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "lite", ARCHITECTURE)


@pytest.fixture(autouse=True)
def images_drawn_once(monkeypatch):
    """Let every run of an experiment have the images that the first one simulated."""
    monkeypatch.setattr(pairs_and_movies, "simulate_pair", FIELD)
    monkeypatch.setattr(pairs_and_movies, "simulate_movie", MOVIE_OF_CELLS)


@pytest.fixture
def described(tmp_path):
    """Return the experiments of a TOML text."""

    def read(text):
        (tmp_path / "entries.toml").write_text(text)
        return read_experiments(tmp_path / "entries.toml")

    return read


def counted_run(experiment, out, training=TRAINING):
    """Run to the end and return the results, and the number of steps."""
    work = run_experiment(experiment, out, training, device="cpu")
    for steps in count():
        try:
            next(work)
        except StopIteration as finished:
            return finished.value, steps
    raise AssertionError


def run(experiment, out, training=TRAINING):
    """Run to the end and return the results."""
    return counted_run(experiment, out, training)[0]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """Return the tiny experiment, run to the end in a folder that tests copy and never change, and its steps."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "entries.toml").write_text(TINY)
    before, threads = PRESETS["lite"], torch.get_num_threads()
    PRESETS["lite"] = ARCHITECTURE
    # as the tests that go on with it: another number of threads rounds differently
    torch.set_num_threads(1)
    try:
        experiment = read_experiments(folder / "entries.toml")["tiny"]
        (result,), steps = counted_run(experiment, folder / "out")
    finally:
        PRESETS["lite"] = before
        torch.set_num_threads(threads)
    return experiment, folder / "out", result, steps


def test_the_experiments_are_those_of_the_papers_table_1():
    entries = paper_experiments()
    table = {
        "MM": ("mitochondria", "mitochondria", 1, 100),
        "AA": ("actin", "actin", 1, 100),
        "MA": ("mitochondria", "actin", 1, 100),
        "AM": ("actin", "mitochondria", 1, 100),
        "DDS": ("dendra", "dendra", 10, 400),
        "AAS": ("actin", "actin", 10, 400),
        "AAE": ("actin", "actin", 1, 100),
    }
    for name, (trained, tested, low, high) in table.items():
        experiment = entries[name]
        (test,) = experiment.tests.values()
        assert (experiment.train.structure, test.structure) == (trained, tested)
        for pairs in (experiment.train, test):
            assert (pairs.low_ms, pairs.high_ms) == ((low,), high)
            assert pairs.size >= 512
        alone, among = ([m for m in experiment.methods if m.training.get("neighbours", 0) == n] for n in (0, 4))
        assert [method.loss.name for method in alone] == ["laplace", "fft", "bandpass"]
        assert [method.loss.name for method in among] == [method.loss.name for method in alone if test.is_movie]
        assert experiment.baselines == ("tv", "nl-means")
        assert experiment.reference == "laplace"
        assert experiment.train.count == 60
        assert (test.is_movie, test.count) == ((True, 200) if name in ("DDS", "AAS") else (False, 9))
        # no test field is a training field
        assert abs(experiment.train.seed - test.seed) > experiment.train.count
    assert entries["AAE"].train.brightness < 1
    assert {"patch-size", "losses", "lowest-light"} <= set(entries)
    assert {method.loss.name for method in entries["losses"].methods} == LOSSES.keys()
    assert sorted({method.training.get("patch_size", 64) for method in entries["patch-size"].methods}) == [32, 64, 128]


def test_a_folder_of_stacks_takes_the_place_of_simulated_images(tmp_path):
    for structure in ("mitochondria", "actin"):
        for which in ("low", "high"):
            (tmp_path / f"{structure}_{which}.tif").touch()
    experiment = paper_experiments()["MA"].on_files(tmp_path)
    assert experiment.train == FileSet(
        low=tmp_path / "mitochondria_low.tif", high=tmp_path / "mitochondria_high.tif", frames=(0, 60)
    )
    assert experiment.tests[""].low == tmp_path / "actin_low.tif"
    assert experiment.tests[""].frames == (60, 69)
    for name in ("DDS", "AAE", "lowest-light"):
        with pytest.raises(InputError, match=name):
            paper_experiments()[name].on_files(tmp_path)
    (tmp_path / "actin_high.tif").unlink()
    with pytest.raises(InputError, match=r"actin_high\.tif"):
        paper_experiments()["AA"].on_files(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("losses", "loses"), "unknown loses"),
        (('losses = ["laplace", "fft"]', "losses = []"), "methods"),
        (('"fft"', '"ftt"'), "ftt"),
        (('"fft"', '"laplace"'), "different names"),
        (('["tv"]', '["tvv"]'), "tvv"),
        (("fields = 3", "field = 3"), "unknown field"),
        (("fields = 3, ", ""), "either fields"),
        (('structure = "actin"', 'structure = "cheese"'), "cheese"),
        (("high_ms = 100", 'high_ms = "long"'), "high_ms"),
        (("seed = 50", "seed = -1"), "seed"),
        (("[tiny]", '["../tiny"]'), "letters"),
        (("train =", "train = 5 #"), "expected a table"),
        (('baselines = ["tv"]', 'reference = "gan"'), "gan"),
        (("[tiny]", "[tiny"), "no TOML"),
        (("[tiny]", "[con]"), "device"),
        (("[tiny]", '["nul.1"]'), "device"),
    ],
)
def test_a_wrong_entry_is_named_before_anything_runs(described, change, said):
    assert change[0] in TINY
    with pytest.raises(InputError, match=r"entries\.toml") as raised:
        described(TINY.replace(*change, 1 if change[0] == "[tiny]" else -1))
    assert said in str(raised.value)


def test_results_that_windows_takes_for_one_file_are_refused(described):
    with pytest.raises(InputError, match=r"entries\.toml: .* both be called TINY: name one of them otherwise"):
        described(TINY + TINY.replace("[tiny]", "[TINY]"))


def files_entry(train, test, low="a/../a/low.tif", high="a/high.tif", label=""):
    """Return an entry on files; without frames they are all frames."""
    chosen, tested = (f", frames = {frames}" if frames else "" for frames in (train, test))
    one = f'{{ low = "{low}", high = "{high}"{tested} }}'
    line = f'tests = {{ "{label}" = {one} }}' if label else f"test = {one}"
    return f'[mine]\ntrain = {{ low = "a/low.tif", high = "a/high.tif"{chosen} }}\n{line}\nlosses = ["fft"]\n'


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ("[0, 60]", "[50, 69]", "frames 50:60 of low.tif are in train and in the test"),
        ("[[0, 2], [5, 9]]", "[[1, 3], [8, 12]]", "frames 1:2,8:9 of low.tif"),
        ("", "[50, 69]", "frames 50:69 of low.tif"),
        ("[5, 9]", "", "frames 5:9 of low.tif"),
        ("", "", "all frames of low.tif"),
        ("[[0, 2], [1, 3]]", "[5, 9]", "frames 1:2 of low.tif are named twice"),
    ],
)
def test_frames_that_train_are_not_tested(described, train, test, said):
    with pytest.raises(InputError, match=r"entries\.toml, \[mine\]: ") as raised:
        described(files_entry(train, test))
    assert said in str(raised.value)


def test_the_test_and_the_file_with_the_same_frames_are_named(described):
    with pytest.raises(InputError, match=r"all frames of high\.tif are in train and in the test 'other day'"):
        described(files_entry("", "", low="b/low.tif", label="other day"))


def test_other_frames_and_other_files_are_tested(described):
    for train, test in (("[0, 60]", "[60, 69]"), ("[[0, 2], [5, 9]]", "[[2, 5], [9, 12]]")):
        assert described(files_entry(train, test))["mine"].tests[""].frames
    assert described(files_entry("", "", low="b/low.tif", high="b/high.tif"))


def test_the_entries_of_the_documentation_are_right(described):
    page = (Path(__file__).parents[2] / "docs" / "how_to" / "run_experiments.md").read_text()
    found = described(page.split("```toml")[1].split("```")[0])
    assert list(found) == ["my-cells", "my-movie"]
    assert found["my-movie"].tests[""].is_movie
    assert found["my-movie"].train.frames == (0, 40)
    assert found["my-movie"].methods[1].restoring == {"low_band": "plain"}


def test_a_run_leaves_networks_scores_and_a_page(finished_run):
    _, out, result, _ = finished_run
    assert result.methods == [INPUT, "tv", "laplace", "fft"]
    assert {method: sorted(rows) for method, rows in result.scores.items()} == {
        name: [0, 1, 2] for name in result.methods
    }
    page = (out / "tiny.html").read_text()
    assert "Smoke run" in page
    assert "6 steps, not 800" in page
    assert "strength" in page
    assert len(list((out / "models").glob("*.safetensors"))) == 2
    assert not list((out / "models").glob("*.resume"))
    rows = {(row.method, row.metric): row for row in result.rows()}
    assert not math.isnan(rows["fft", "psnr"].p_value)
    assert not math.isnan(rows["fft", "frc"].p_corrected)
    assert math.isnan(rows["laplace", "psnr"].p_value)
    saved = load_result(out / "tiny.json")
    assert saved.scores == result.scores
    assert json.loads((out / "tiny.json").read_text())["rows"][0]["method"] == INPUT


def test_finished_work_is_not_repeated(finished_run, tmp_path, monkeypatch):
    experiment, out, result, _ = finished_run
    shutil.copytree(out, tmp_path / "again")
    stamp = (tmp_path / "again" / "tiny.html").stat().st_mtime_ns

    def fail(*_, **__):
        raise AssertionError("done again")

    for name in ("_train", "tune", "compare", "write_report"):
        monkeypatch.setattr(runner, name, fail)
    (again,) = run(experiment, tmp_path / "again")
    assert again.scores == result.scores
    assert (tmp_path / "again" / "tiny.html").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("share", [0.15, 0.4, 0.55, 0.7, 0.85, 0.97])
def test_a_stopped_run_continues_to_the_same_table(finished_run, tmp_path, share):
    experiment, _, result, steps = finished_run
    work = run_experiment(experiment, tmp_path / "stopped", TRAINING, device="cpu")
    list(islice(work, round(share * steps)))
    work.close()
    (resumed,) = run(experiment, tmp_path / "stopped")
    assert resumed.scores == result.scores
    assert resumed.rows() == result.rows()
    assert "Smoke run" in (tmp_path / "stopped" / "tiny.html").read_text()


def test_another_budget_or_set_is_another_run(finished_run, tmp_path, described):
    experiment, out, result, _ = finished_run
    shutil.copytree(out, tmp_path / "again")
    (longer,) = run(experiment, tmp_path / "again", TrainingParameters(**{**TRAINING.to_dict(), "amount": 9.0}))
    assert longer.scores["fft"] != result.scores["fft"]
    assert longer.scores["tv"] == result.scores["tv"]
    assert len(list((tmp_path / "again" / "models").glob("*.safetensors"))) == 4
    other = described(TINY.replace("seed = 50", "seed = 51"))["tiny"]
    (moved,) = run(other, tmp_path / "again")
    assert moved.scores[INPUT] != result.scores[INPUT]
    assert len(list((tmp_path / "again" / "models").glob("*.safetensors"))) == 4


def test_frames_of_a_movie_are_not_tested(described, tmp_path):
    (result,) = run(described(MOVIE)["movie"], tmp_path / "out")
    assert not result.independent
    assert all(math.isnan(row.p_value) for row in result.rows())
    assert "No <i>p</i>-value" in (tmp_path / "out" / "movie.html").read_text()


def test_networks_with_and_without_neighbours_stand_in_one_table(described, tmp_path):
    (result,) = run(described(NEIGHBOURS)["movie"], tmp_path / "out")
    assert result.methods == [INPUT, "tv", "fft", "more"]
    assert [len(result.scores[method]) for method in result.methods] == [3] * 4
    assert {row.method for row in result.rows()} == set(result.methods)
    cards = {path.name.split("_")[0]: read_card(path) for path in (tmp_path / "out" / "models").glob("*.safetensors")}
    assert {name: card.care.neighbours for name, card in cards.items()} == {"actin-fft": 0, "actin-more": 2}
    assert cards["actin-more"].training["neighbour_spacing"] == STRUCTURES["actin"].interval_s
    assert result.settings["more"].endswith("2 neighbouring frames")
    assert "neighbouring" not in result.settings["fft"]


def test_a_field_is_filmed_for_a_network_with_neighbours_and_its_middle_frame_learnt_from(described):
    experiment = described(NEIGHBOURS)["movie"]
    alone, among = (experiment.train.pairs(number) for number in (0, 2))
    assert len(alone) == len(among) == 4
    for still, filmed in zip(alone, among, strict=True):
        assert still.around is None
        assert [image.shape for image in filmed.around.low] == [(48, 48)] * 2
        # the same cells, hardly moved
        assert np.corrcoef(still.second.ravel(), filmed.second.ravel())[0, 1] > 0.9


def test_neighbours_of_independent_fields_are_refused(described):
    with pytest.raises(InputError, match="more reads neighbouring frames: every test must be a movie"):
        described(NEIGHBOURS.replace("frames = 3", "fields = 3"))


def test_the_least_light_is_that_of_the_first_exposure_that_passes(described, tmp_path):
    results = run(described(LIGHT)["light"], tmp_path / "out")
    assert [result.name for result in results] == ["light_1", "light_0.1", "light_100"]
    table = next(table for table in overview_tables(results) if "lowest usable light" in table.title)
    assert table.header == ["method", "0.1 ms", "1 ms", "100 ms", "least that passes"]
    ssim = {row[0]: [float(cell) for cell in row[1:4]] for row in table.rows}
    for row in table.rows:
        passing = [label for label, value in zip(table.header[1:4], ssim[row[0]], strict=True) if value >= 0.5]
        assert row[4] == (passing[0] if passing else "none")
    # at the exposure of the truth even the input passes
    assert ssim[INPUT][2] >= 0.5
    page = write_overview(tmp_path / "out").read_text()
    assert "quality against light" in page
    assert "threshold 0.5" in page


def test_the_overview_holds_every_experiment_and_says_which_are_smoke(finished_run, tmp_path):
    _, out, _, _ = finished_run
    shutil.copytree(out, tmp_path / "run")
    (tmp_path / "run" / "other.json").write_text("{}")
    page = write_overview(tmp_path / "run")
    assert page == tmp_path / "run" / "index.html"
    assert "Smoke run" in page.read_text()
    assert 'href="tiny.html"' in page.read_text()
    assert "| method |" in (tmp_path / "run" / "overview.md").read_text()
    lines = (tmp_path / "run" / "overview.csv").read_text().splitlines()
    assert lines[0].startswith("experiment,smoke,method,metric,mean")
    assert any(line.startswith("tiny,yes,fft,psnr,") for line in lines)
    with pytest.raises(InputError, match="no result"):
        write_overview(tmp_path)


def test_pairs_come_from_stacks_and_from_folders_of_frames(tmp_path):
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 99, (2, 12, 20, 24)).astype(np.uint16)
    for which, stack in (("low", low), ("high", high)):
        tifffile.imwrite(tmp_path / f"{which}.tif", stack)
        (tmp_path / which).mkdir()
        for number, frame in enumerate(stack):
            tifffile.imwrite(tmp_path / which / f"field {number}.tif", frame)
    for first, second in (("low.tif", "high.tif"), ("low", "high")):
        stacks = FileSet(low=tmp_path / first, high=tmp_path / second, frames=(2, 12)).stacks()
        assert len(stacks.low) == 10
        # field 10 comes after field 9
        np.testing.assert_array_equal(stacks.low[8], low[10])
        np.testing.assert_array_equal(stacks.high[0], high[2])
        several = FileSet(low=tmp_path / first, high=tmp_path / second, frames=((0, 1), (3, 5)))
        assert several.title.endswith(", frames 0:1,3:5")
        assert several.identity()["frames"] == [[0, 1], [3, 5]]
        np.testing.assert_array_equal(list(several.stacks().low), low[[0, 3, 4]])
    with pytest.raises(InputError, match="2:13"):
        FileSet(low=tmp_path / "low", high=tmp_path / "high", frames=(2, 13)).stacks()
    with pytest.raises(InputError, match="no file or folder"):
        FileSet(low=tmp_path / "none", high=tmp_path / "high").identity()


def test_exposures_of_a_simulated_set_take_turns():
    pairs = SimulatedSet(structure="actin", low_ms=(0.01, 100.0), high_ms=100.0, count=4, size=32, seed=3)
    low = pairs.stacks().low
    means = [low[i].mean() for i in range(4)]
    assert max(means[0], means[2]) < min(means[1], means[3])
