"""Comparisons: every method as it would be alone, frame by frame, in bounded memory, closable."""

import dataclasses
import sys
import threading

import numpy as np
import pytest
from fixtures.random_models import TINY, Spy, bundled_model, image_of, make_model

from napari_care_losses.comparison.baselines import restore_with
from napari_care_losses.comparison.compare import INPUT, Method, compare
from napari_care_losses.errors import InputError, ModelFileError
from napari_care_losses.evaluation.stack_scores import evaluate
from napari_care_losses.evaluation.without_truth.single_image import measure_image
from napari_care_losses.images.frames import Frames
from napari_care_losses.restoration.engines import base as engines
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.restoration.restore_stack import restore
from napari_care_losses.restoration.tiles import working_memory
from napari_care_losses.simulation.pairs_and_movies import simulate_pairs

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def model_files(tmp_path_factory):
    """Return two models' files by name, and the models."""
    folder = tmp_path_factory.mktemp("models")
    models = {"first": make_model(seed=0), "second": make_model(seed=1, loss="laplace")}
    for name, model in models.items():
        model.save(folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in models}, models


@pytest.fixture
def methods(model_files):
    files, _ = model_files
    return [*(Method(name, model=path) for name, path in files.items()), Method("TV", baseline="tv")]


TRUTH = image_of((3, 32, 40))
LOW = TRUTH / 4 + np.random.default_rng(1).normal(0, 20, TRUTH.shape).astype(np.float32)


def completed(steps):
    return [step for step in steps if step.method]


def test_every_method_gives_what_it_gives_alone(methods, model_files):
    steps = completed(compare(Frames(LOW), methods))
    images = {(step.method, step.frame_index): step.image for step in steps}
    expected = {INPUT: LOW, "TV": np.stack([restore_with("tv", frame) for frame in LOW])}
    expected |= {name: restore(LOW, model) for name, model in model_files[1].items()}
    assert images.keys() == {(name, index) for name in expected for index in range(3)}
    for (name, index), image in images.items():
        assert image.dtype == np.float32
        assert image == pytest.approx(expected[name][index], rel=1e-5, abs=1e-3)
    assert all(list(step.scores) == list(measure_image(step.image)) for step in steps)


def test_all_methods_of_a_frame_come_before_the_next_frame_in_the_order_asked_for(methods):
    steps = completed(compare(Frames(LOW), methods, indices=[2, 0]))
    names = [INPUT, "first", "second", "TV"]
    assert [(step.frame_index, step.method) for step in steps] == [(index, name) for index in (2, 0) for name in names]


@pytest.mark.parametrize("aligned", [True, False])
def test_scores_are_those_of_an_evaluation(methods, aligned):
    steps = completed(compare(Frames(LOW), methods, truth=Frames(TRUTH), aligned=aligned))
    stacks = {}
    for step in steps:
        stacks.setdefault(step.method, []).append(step.image)
    expected = evaluate({name: Frames(np.stack(s)) for name, s in stacks.items()}, Frames(TRUTH), aligned=aligned)
    for step in steps:
        scores = dict(expected["frames"][step.frame_index][step.method])
        del scores["intercept"]
        assert step.scores == pytest.approx(scores)


def test_the_psnr_of_every_method_is_estimated_beside_the_truth_and_without_it(model_library) -> None:
    low, high = simulate_pairs("mitochondria", 2, (96, 96), seed=4)
    bundled_model("fft-lite").save(model_library / "trained.safetensors")
    chosen = [Method("model", model=model_library / "trained.safetensors"), Method("TV", baseline="tv")]
    with_truth = completed(compare(Frames(low), chosen, truth=Frames(high)))
    for step in with_truth:
        gap = abs(step.scores["psnr_estimated"] - step.scores["psnr"])
        assert gap < 2.5
    order = {index: [step.scores for step in with_truth if step.frame_index == index] for index in (0, 1)}
    for scores in order.values():
        by = {name: sorted(range(3), key=lambda i, name=name: scores[i][name]) for name in ("psnr", "psnr_estimated")}
        assert by["psnr"] == by["psnr_estimated"]
    without = completed(compare(Frames(low), chosen))
    for one, other in zip(with_truth, without, strict=True):
        assert one.scores["psnr_estimated"] == pytest.approx(other.scores["psnr_estimated"], abs=1e-3)


def test_where_nothing_can_be_estimated_the_input_says_why(methods) -> None:
    notes = {step.method: step.note for step in completed(compare(Frames(LOW), methods, indices=[0]))}
    assert "at least 64 x 64 px are needed" in notes[INPUT]


def test_a_range_for_the_stack_is_that_of_the_whole_stack(methods, model_files):
    parameters = RestorationParameters(normalization="stack")
    steps = compare(Frames(LOW), methods, parameters=parameters, indices=[1])
    images = {step.method: step.image for step in completed(steps)}
    alone = restore(LOW, model_files[1]["first"], parameters)[1]
    assert images["first"] == pytest.approx(alone, rel=1e-5, abs=1e-3)
    assert images["first"] != pytest.approx(restore(LOW[1], model_files[1]["first"]), rel=1e-3)


def test_the_note_states_the_strength_of_a_baseline(methods):
    notes = {step.method: step.note for step in compare(Frames(LOW), methods, indices=[0])}
    assert "strength of least estimated error" in notes["TV"]


def test_steps_are_counted_to_the_end(methods):
    steps = list(compare(Frames(LOW), methods, parameters=RestorationParameters(tile_size=24)))
    assert steps[-1].done == steps[-1].total
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert all(step.done <= step.total for step in steps)
    assert len(steps) > len(completed(steps))
    assert {(step.image is None, step.frame_index is None) for step in steps if not step.method} == {(True, True)}


def test_frames_are_read_once_for_all_methods(methods):
    spy = Spy(LOW)
    list(compare(Frames(spy), methods))
    assert sorted(spy.read) == [0, 1, 2]


def test_only_a_few_frames_are_kept(methods):
    stack = np.tile(LOW[:1], (12, 1, 1))
    spy = Spy(stack)
    work = compare(Frames(spy), methods)
    for step in work:
        if step.frame_index == 0 and step.method == "TV":
            break
    # the next one is read ahead
    assert max(spy.read) <= 2
    work.close()


def test_several_models_share_the_memory_of_one(methods, monkeypatch):
    monkeypatch.setitem(engines.MEMORY_CAP, "cpu", working_memory(TINY, 44))
    stack = Frames(image_of((44, 44)))

    def tiles(chosen):
        return len(list(compare(stack, chosen))) - 1

    one, two = tiles(methods[:1]), tiles(methods[:2])
    assert one == 2  # the model read, and a single tile
    assert two > 2 * one


def test_closing_in_the_middle_ends_the_threads(methods):
    work = compare(Frames(LOW), methods, truth=Frames(TRUTH))
    for step in work:
        if step.method == "second":
            break
    work.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_baselines_alone_need_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from napari_care_losses.comparison.compare import Method, compare\n"
        "from napari_care_losses.images.frames import Frames\n"
        "image = np.random.default_rng(0).normal(size=(32, 32))\n"
        "steps = list(compare(Frames(image), [Method('TV', baseline='tv')], truth=Frames(image.T)))\n"
        "assert [step.method for step in steps if step.method] == ['input', 'TV'] and 'torch' not in sys.modules"
    )
    import subprocess

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "a"}, "either a model or a baseline"),
        ({"name": "a", "model": "m", "baseline": "tv"}, "either a model or a baseline"),
        ({"name": "a", "baseline": "median"}, "no baseline 'median'; choose one of: tv, nl-means"),
        ({"name": INPUT, "baseline": "tv"}, "'input'"),
        ({"name": "  ", "baseline": "tv"}, "empty"),
    ],
)
def test_wrong_methods_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Method(**arguments)


TV = Method("TV", baseline="tv")


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ([], {}, "at least one method"),
        ([TV, Method("NL", baseline="nl-means"), TV], {}, "'TV' more than once"),
        ([TV], {"truth": Frames(TRUTH[:2])}, r"3 frames of \(32, 40\), the ground truth 2 of \(32, 40\)"),
        ([TV], {"truth": Frames(TRUTH[:, :16])}, r"the ground truth 3 of \(16, 40\)"),
        ([TV], {"indices": []}, "at least one"),
        ([TV], {"indices": [0, 3]}, "expected at least one of 0 to 2"),
        ([TV], {"indices": [1, 1]}, "twice"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_computed(methods, options, message):
    spy = Spy(LOW)
    with pytest.raises(InputError, match=message):
        next(compare(Frames(spy), methods, **options))
    assert spy.read == []


def test_a_missing_model_is_refused_before_anything_is_computed(tmp_path, methods):
    missing = Method("gone", model=tmp_path / "gone.safetensors")
    with pytest.raises(ModelFileError, match=r"gone\.safetensors"):
        next(compare(Frames(LOW), [*methods, missing]))


@pytest.mark.parametrize("chosen", ["first", "TV"])
def test_a_frame_that_cannot_be_restored_is_named(methods, chosen):
    broken = LOW.copy()
    broken[1, 5, 5] = np.nan
    with pytest.raises(InputError, match=r"Frame 1: .*NaN"):
        list(compare(Frames(broken), [method for method in methods if method.name == chosen]))


def test_nan_in_the_input_are_reported_as_such(methods):
    broken = LOW.copy()
    broken[1, 5, 5] = np.nan
    with pytest.raises(InputError, match=r"Frame 1: 1 of 1280 pixels are NaN or infinite"):
        list(compare(Frames(broken), methods[-1:], truth=Frames(TRUTH)))


def test_a_frame_that_cannot_be_scored_is_named():
    flat = TRUTH.copy()
    flat[2] = 7
    with pytest.raises(InputError, match=r"Frame 2: .*contrast"):
        list(compare(Frames(LOW), [TV], truth=Frames(flat)))


def test_a_model_of_neighbouring_frames_is_compared_as_it_restores(tmp_path, methods):
    model = make_model(dataclasses.replace(TINY, neighbours=2))
    model.save(tmp_path / "around.safetensors")
    around = Method("around", model=tmp_path / "around.safetensors")
    steps = completed(compare(Frames(LOW), [around, *methods], truth=Frames(TRUTH), indices=[2, 0]))
    expected = restore(LOW, model)
    for step in steps:
        if step.method == "around":
            assert step.image == pytest.approx(expected[step.frame_index], rel=1e-5, abs=1e-3)
    with pytest.raises(InputError, match="Neighbouring frames along time"):
        list(compare(Frames(LOW[0]), [around, *methods]))
