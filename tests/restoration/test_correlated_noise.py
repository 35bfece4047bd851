"""What is done about noise that neighbouring pixels share, in every way of restoring, and what is said of it."""

from dataclasses import replace

import numpy as np
import pytest
from fixtures.random_models import bundled_model, make_model
from scipy.ndimage import gaussian_filter

from napari_care_losses.cli.main import main
from napari_care_losses.comparison.compare import Method, compare
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.regions import Region
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.models.learned_noise import learned_correlation, noise_statistics
from napari_care_losses.models.model import LEARNED_CORRELATION, read_card
from napari_care_losses.restoration.correlated_noise import HALVED, choose_treatment
from napari_care_losses.restoration.engines.treatment import Treatment
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.preview.previewer import Previewer
from napari_care_losses.restoration.restore_stack import restore, restore_frames
from napari_care_losses.restoration.to_file import restore_to_file
from napari_care_losses.simulation.pairs_and_movies import STRUCTURES, draw_structure, simulate_pair

pytestmark = pytest.mark.usefixtures("one_torch_thread")

AUTO = RestorationParameters(engine="torch")


def image_with(sigma, shape=(128, 128), seed=0, photons=20):
    """Return an image of few photons, blurred after it was recorded."""
    rng = np.random.default_rng(seed)
    light = gaussian_filter(rng.random(shape), 8)
    light = (light - light.min()) / np.ptp(light)
    return gaussian_filter(rng.poisson(photons * light).astype(np.float32) * 10, sigma)


def model_that_learned(correlation):
    statistics = {} if correlation is None else {LEARNED_CORRELATION: correlation}
    model = make_model()
    return replace(model, card=replace(model.card, statistics=statistics))


def choice(image, learned=0.0, how="auto"):
    return choose_treatment(
        Frames(image), model_that_learned(learned).card, RestorationParameters(correlated_noise=how)
    )


@pytest.mark.parametrize("sigma", [(0.6, 0.6), (0, 0.6), (0.6, 0)], ids=["both axes", "along x", "along y"])
def test_shared_noise_is_decorrelated(sigma):
    chosen = choice(image_with(sigma))
    assert chosen.correlation is not None
    assert chosen.note.endswith("decorrelated before restoring.")
    assert chosen.note.startswith("The noise of neighbouring pixels correlates (")


@pytest.mark.parametrize("name", STRUCTURES)
def test_images_of_a_camera_are_left_as_they_are(name):
    low, _ = simulate_pair(name, (192, 192), seed=7)
    assert choice(low) == Treatment()


@pytest.mark.parametrize("name", STRUCTURES)
def test_an_image_without_noise_is_left_as_it_is(name):
    clean = gaussian_filter(draw_structure(name, (192, 192), np.random.default_rng(3)), 1.2)
    assert choice(clean.astype(np.float32)).identity == {}


def test_little_noise_is_left_as_it_is():
    assert choice(image_with(0.6, photons=20_000)) == Treatment()


def test_a_model_that_learned_from_such_noise_is_left_alone():
    image = image_with(0.6)
    assert choice(image, learned=0.4) == Treatment()
    assert choice(image, learned=0.2).correlation is not None


def test_of_a_model_whose_noise_is_not_known_it_is_said():
    chosen = choice(image_with(0.6), learned=None)
    assert chosen.identity == {}
    assert "the noise that the model learned from is not known" in chosen.note
    assert choice(image_with(0), learned=None).note == ""


def test_noise_that_many_pixels_share_is_halved():
    image = image_with(1.0, (256, 256), photons=2)
    chosen = choice(image)
    assert chosen.halves
    assert chosen.note.startswith("The noise of neighbouring pixels correlates (0.")
    assert chosen.note.endswith(HALVED)
    # along one axis, it is not worth the detail
    assert choice(image_with((0, 1.0), (256, 256), photons=2)).correlation is not None


def test_frames_that_differ_are_left_and_said():
    stack = np.stack([image_with(sigma) for sigma in (0, 0.5, 0.7)])
    chosen = choice(stack)
    assert chosen.identity == {}
    assert "more in some frames or parts than in others" in chosen.note


def test_the_choice_of_the_user_counts():
    image = image_with(0.6)
    assert choice(image, how="half") == Treatment(halves=True, note=HALVED)
    ignored = choice(image, how="ignore")
    assert ignored.identity == {}
    assert ignored.note.endswith("let it be decorrelated.")
    assert choice(image_with(0), how="ignore") == Treatment()


def test_cards_store_the_noise_that_a_model_learned_from():
    shared = noise_statistics([image_with(0.6, seed=seed) for seed in range(3)])
    assert shared[LEARNED_CORRELATION] == pytest.approx(0.45, abs=0.06)
    assert noise_statistics([image_with(0)])[LEARNED_CORRELATION] == 0
    assert learned_correlation(model_that_learned(None).card) is None
    damaged = replace(make_model().card, statistics={LEARNED_CORRELATION: "much"})
    assert learned_correlation(damaged) is None


def test_bundled_models_learned_from_noise_that_is_not_shared(tmp_path):
    model = bundled_model("fft-lite")
    assert learned_correlation(model.card) == 0
    copy = replace(model, card=replace(model.card, statistics={}))
    copy.save(tmp_path / "copy.safetensors")
    assert learned_correlation(read_card(tmp_path / "copy.safetensors")) is None


def test_preview_compare_and_files_restore_the_same(tmp_path):
    model, image, path = model_that_learned(0.0), image_with(0.6), tmp_path / "small.safetensors"
    model.save(path)
    expected = restore(image, model, AUTO, device="cpu")
    assert np.abs(expected - restore(image, model, replace(AUTO, correlated_noise="ignore"), device="cpu")).max() > 1
    canvas, notes = np.empty_like(image), set()
    for step in Previewer("cpu").preview(Frames(image), 0, Region(0, 128, 0, 128), None, path, AUTO):
        if step.image is not None:
            canvas[step.position] = step.image
            notes.add(step.note)
    np.testing.assert_allclose(canvas, expected, rtol=0, atol=1e-5 * np.ptp(image))
    steps = compare(Frames(image), [Method("model", model=path)], parameters=AUTO)
    *_, compared = (step for step in steps if step.image is not None)
    np.testing.assert_allclose(compared.image, expected, rtol=0, atol=1e-5 * np.ptp(image))
    *_, written = restore_to_file(Frames(image), model, tmp_path / "out.tif", AUTO)
    np.testing.assert_allclose(read_stack(tmp_path / "out.tif")[0], expected, rtol=0, atol=1e-5 * np.ptp(image))
    assert {compared.note, written.note} == notes
    assert notes == {choice(image).note}


def test_all_frames_of_a_movie_are_treated_alike():
    """The frame in the middle alone would be left as it is."""
    movie = np.stack([image_with(sigma, seed=seed) for seed, sigma in enumerate((0.6, 0.6, 0.6, 0, 0.6, 0.6, 0.6))])
    movie[3] = image_with(0, seed=3)
    model = model_that_learned(0.0)
    *_, alone = restore_frames(Frames(movie), model, AUTO, indices=[1], device="cpu")
    everything = restore(movie, model, AUTO, device="cpu")
    np.testing.assert_allclose(everything[1], alone.frame.image, rtol=0, atol=1e-5 * np.ptp(movie))


def test_jobs_differ_by_what_is_done(tmp_path):
    out, image, model = tmp_path / "out.tif", image_with(0.6), model_that_learned(0.0)
    run = RunOptions(device="cpu", resume=True)
    for again in (False, True):
        assert bool([*restore_to_file(Frames(image), model, out, AUTO, run)]) is not again
    assert [*restore_to_file(Frames(image), model, out, replace(AUTO, correlated_noise="half"), run)]


def test_earlier_jobs_and_settings_are_understood():
    assert RestorationParameters.from_dict({"half_resolution": True}).correlated_noise == "half"
    assert RestorationParameters.from_dict({"half_resolution": False}).correlated_noise == "ignore"
    assert "correlated_noise" not in RestorationParameters().identity()
    assert Treatment(halves=True).identity == {"half_resolution": True}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ([], "decorrelated before restoring."),
        (["--half-resolution"], HALVED),
        (["--correlated-noise", "half"], HALVED),
        (["--no-half-resolution"], "let it be decorrelated."),
    ],
)
def test_the_command_says_what_was_done(option, said, tmp_path, capsys):
    model, path = model_that_learned(0.0), tmp_path / "small.safetensors"
    model.save(path)
    save_stack(tmp_path / "in.tif", image_with(0.6))
    main(["restore", str(path), str(tmp_path / "in.tif"), "--out", str(tmp_path / "out.tif"), *option])
    assert said in capsys.readouterr().out
