"""The command line's comparison, from files to report."""

import csv

import pytest
import tifffile
from fixtures.cli_runs import names, save_model, status_of

from napari_care_losses.evaluation.metrics import score

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def compare(*more, truth=("--truth", "high.tif"), methods=("laplace", "tv")):
    return status_of("compare", "low.tif", "--methods", *methods, *truth, "--out", "report.html", *more)


@pytest.fixture
def models(folder, monkeypatch):
    library = folder / "library"
    library.mkdir()
    monkeypatch.setenv("NAPARI_CARE_LOSSES_LIBRARY", str(library))
    save_model(library / "laplace.safetensors", loss="laplace")
    save_model(folder / "mine.safetensors", loss="fft")
    return folder


def rows_of(name):
    with open(name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_report_and_its_tables_are_written(models, capsys):
    assert compare(methods=["mine.safetensors", "laplace", "tv", "nl-means"]) == 0
    assert {"report.html", "report.csv", "report_summary.csv"} <= set(names(models))
    rows = rows_of("report.csv")
    assert [(row["image"], row["method"]) for row in rows[:5]] == [
        ("0", name) for name in ("input", "mine", "laplace", "tv", "nl-means")
    ]
    assert len(rows) == 30
    low, high = tifffile.imread("low.tif"), tifffile.imread("high.tif")
    for row in (row for row in rows if row["method"] == "input"):
        index = int(row["image"])
        assert float(row["psnr"]) == pytest.approx(score(low[index], high[index])["psnr"], rel=1e-5)
    page = (models / "report.html").read_text(encoding="utf-8")
    assert "mine.safetensors: fft loss" in page
    assert "low.tif" in page
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "report.html"
    assert printed[0].startswith("method\tmetric\tmean")


def test_settings_are_stated_once_and_in_words(models):
    assert compare("--no-average-flips") == 0
    page = (models / "report.html").read_text(encoding="utf-8")
    assert "<tr><th>Average flips</th><td>no</td></tr>" in page
    assert page.count("of least estimated error") == 1
    # the images are too small for an estimate; nothing else is noted
    assert page.count("<h2>Notes</h2><p>The PSNR of this image cannot be estimated: at least 64 x 64 px") == 1


def test_frames_of_a_movie_are_not_tested_and_independent_ones_against_the_laplace_model(models):
    assert compare(methods=["tv", "laplace"]) == 0
    assert {row["p (paired t-test)"] for row in rows_of("report_summary.csv")} == {""}
    assert compare("--independent", methods=["tv", "laplace"]) == 0
    tested = [row for row in rows_of("report_summary.csv") if row["metric"] == "psnr" and row["p (paired t-test)"]]
    assert [row["method"] for row in tested] == ["input", "tv"]


def test_chosen_frames_and_a_chosen_reference(models):
    assert compare("--frames", "1:3", "--reference", "tv", "--independent") == 0
    assert {row["image"] for row in rows_of("report.csv")} == {"0", "1"}
    tested = {row["method"] for row in rows_of("report_summary.csv") if row["difference to reference"]}
    assert tested == {"input", "laplace"}


def test_without_a_truth_there_are_images_and_no_scores(models, capsys):
    assert compare(truth=()) == 0
    assert rows_of("report.csv") == []
    assert "no ground truth" in (models / "report.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out == "report.html\n"


def test_models_of_one_name_in_two_folders_keep_their_paths(models):
    save_model(models / "laplace.safetensors", loss="mae")
    assert compare(methods=["laplace", "laplace.safetensors"]) == 0
    assert {row["method"] for row in rows_of("report.csv")} == {"input", "laplace", "laplace.safetensors"}


def test_restoration_settings_are_options(models):
    assert compare("--normalization", "stack", "--unaligned") == 0
    page = (models / "report.html").read_text(encoding="utf-8")
    assert "<td>stack</td>" in page
    assert "without alignment" in page
