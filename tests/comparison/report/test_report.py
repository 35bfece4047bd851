"""The report of a comparison: one page that needs nothing else, says what was done, and escapes what it was given."""

import csv
import math
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from fixtures.windows_files import law_of_windows
from scipy.ndimage import gaussian_filter

from napari_care_losses.comparison.compare import INPUT
from napari_care_losses.comparison.report.content import ComparisonReport, ReportImage
from napari_care_losses.comparison.report.image_cards import TRUTH, detail_of, limits_in, shown_frame
from napari_care_losses.comparison.report.write import check_report, write_report
from napari_care_losses.errors import InputError, OutputError
from napari_care_losses.evaluation.metrics import METRICS, Metric, align
from napari_care_losses.evaluation.spectra import averaged_rings, fourier_ring_correlation
from napari_care_losses.evaluation.stack_scores import evaluate
from napari_care_losses.evaluation.statistics import summarize
from napari_care_losses.images.frames import Frames

RNG = np.random.default_rng(0)
CLEAN = (1000 * gaussian_filter(RNG.normal(size=(128, 160)), 2) + 500).astype(np.float32)
LOW = (CLEAN / 4 + RNG.normal(0, 20, CLEAN.shape)).astype(np.float32)
SMOOTH = gaussian_filter(LOW, 1.5)
HOSTILE = 'fft <script>alert("x")</script> & co'


class Checker(HTMLParser):
    """Follows the tags of a page: what is open, and what it points to."""

    VOID = frozenset({"meta", "br", "img", "link", "input", "hr"})

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def scores_of(count, *, methods=("input", "laplace", HOSTILE)):
    rng = np.random.default_rng(1)
    return {
        method: {
            index: {"psnr": 25 + 2 * place + rng.normal(), "ssim": 0.8, "slope": 0.9, "r2": 0.95}
            for index in range(count)
        }
        for place, method in enumerate(methods)
    }


def report(*, count=6, truth=CLEAN, independent=True, **changes):
    scores = scores_of(count) if truth is not None else {}
    values = {
        "title": "Losses <compared>",
        "images": [
            ReportImage(INPUT, LOW, {"psnr": 20.0, "ssim": 0.5} if scores else {}),
            ReportImage("laplace", SMOOTH, {"psnr": 31.234, "ssim": 0.91234} if scores else {}),
            ReportImage(HOSTILE, 2 * SMOOTH + 7, {"psnr": 32.0, "ssim": 0.92} if scores else {}),
        ],
        "truth": truth,
        "rows": summarize(scores, reference="laplace", independent=independent) if scores else [],
        "scores": scores,
        "settings": {"Range": "frame <& all>"},
        "notes": ["TV strength 2.2 x <the noise>"],
        "frame_index": 3,
        "pixel_size": 0.108,
        "profile_line": ((10, 12), (100, 140)),
        "reference": "laplace",
        "independent": independent,
    }
    return ComparisonReport(**values | changes)


def page_of(tmp_path, given):
    write_report(tmp_path / "report.html", given)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def text_of(page):
    return " ".join(" ".join(Checker(page).text).split())


VARIANTS = {
    "independent": {},
    "movie": {"independent": False, "count": 70},
    "one image": {"count": 1},
    "no truth": {"truth": None},
    "unaligned": {"aligned": False},
    "no pixel size, no line": {"pixel_size": None, "profile_line": None},
    "line beyond the image": {"profile_line": ((-20, -20), (300, 300))},
    "nothing scored": {"scores": {}, "rows": []},
    "no reference": {"reference": None, "rows": summarize(scores_of(6), reference=None, independent=True)},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_page_is_well_formed_and_needs_nothing_else(tmp_path, changes):
    checker = Checker(page_of(tmp_path, report(**changes)))
    assert not {"script", "link", "iframe", "object"} & set(checker.tags)
    assert checker.addresses
    assert all(address.startswith("data:image/png;base64,") for address in checker.addresses)
    assert "svg" in checker.tags


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_drawing_is_valid_svg_with_numbers_only(tmp_path, changes):
    from xml.etree import ElementTree

    drawings = re.findall(r"<svg.*?</svg>", page_of(tmp_path, report(**changes)), flags=re.DOTALL)
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "nan" not in re.sub(r'base64,[^"]*', "", drawing)


def test_names_settings_and_notes_are_escaped(tmp_path):
    page = page_of(tmp_path, report())
    text = text_of(page)
    assert HOSTILE in text
    assert "Losses <compared>" in text
    assert "frame <& all>" in text
    assert "TV strength 2.2 x <the noise>" in text


def test_the_page_says_what_was_measured_and_how(tmp_path):
    text = text_of(page_of(tmp_path, report()))
    for wanted in (
        "paired, two-sided t-test",
        "percentiles 0.1 and 99.9",
        "laplace (reference)",
        "PSNR 31.23 dB, SSIM 0.9123",
        "image 3 (the first is 0)",
        "aligned to the truth in brightness and contrast",
        "Fourier ring correlation",
        "cycles/µm",
        "1/7",
        "nm",
        "numpy",
        "doi:10.1038/s41592-018-0216-7",
        "Nguyen, Hagen, Ventura",
        "doi:10.1016/j.jsb.2005.05.009",
        "Holm",
        "effect size",
    ):
        assert wanted in text, wanted


def test_a_movie_gets_no_p_value_and_the_page_says_why(tmp_path):
    page = page_of(tmp_path, report(independent=False, count=70))
    text = text_of(page)
    assert "No p -value: the 70 images are frames of one movie" in text
    assert "p (Holm)" not in text
    assert "effect size" not in text
    assert "t-test" not in text
    assert "moving-block bootstrap" in text
    assert "10 more images are in the CSV file" in text
    assert "Scores over time" in text
    assert "Scores over time" not in text_of(page_of(tmp_path, report(count=70)))


def test_one_image_gets_no_test(tmp_path):
    text = text_of(page_of(tmp_path, report(count=1)))
    assert "one image allows no test" in text
    assert "t-test" not in text


def test_without_a_truth_residuals_are_shown_and_nothing_is_scored(tmp_path):
    text = text_of(page_of(tmp_path, report(truth=None)))
    assert "no ground truth" in text
    assert "input minus restored" in text
    assert "PSNR" not in text
    assert "ring correlation" not in text


def test_without_alignment_the_page_does_not_claim_it(tmp_path):
    text = text_of(page_of(tmp_path, report(aligned=False)))
    assert "without alignment" in text
    assert "affine map" not in text
    assert "first aligned" not in text


def test_grey_levels_have_few_digits_and_a_minus_sign(tmp_path):
    below = [ReportImage(INPUT, LOW - 600), ReportImage("laplace", SMOOTH - 600)]
    text = text_of(page_of(tmp_path, report(truth=None, images=below)))
    assert re.search("black is \u2212\\d+(\\.\\d)? and white \u2212?\\d+(\\.\\d+)? grey levels", text)


def test_a_tiny_spread_is_not_shown_as_zero(tmp_path):
    scores = scores_of(6)
    for rows in scores.values():
        for index, row in rows.items():
            row.update(slope=0.025 + 1e-5 * index, r2=0.5)
    page = page_of(tmp_path, report(rows=summarize(scores, reference="laplace", independent=True)))
    assert "0.0250 ± < 0.0001" in text_of(page)
    assert "0.5000 ± 0.0000" in text_of(page)


def test_tables_and_long_paths_fit_a_narrow_screen(tmp_path):
    page = page_of(tmp_path, report())
    # not an expression for what stands before: it takes half a minute for the pictures within the page
    before_tables = [page[: found.start()] for found in re.finditer('<table(?! class="pairs")', page)]
    assert before_tables
    assert all(before.endswith('class="wide">') for before in before_tables)
    style = re.search("<style>(.*?)</style>", page, flags=re.DOTALL)[1]
    assert "overflow-wrap: anywhere" in re.search(r"\.pairs td \{([^}]*)\}", style)[1]
    narrow = re.search(r"@media screen and \(max-width.*", style)[0]
    assert ".cards { grid-template-columns: 1fr 1fr; }" in narrow
    # a rule in the style sheet cannot overrule one written at the element
    assert 'style="grid-template' not in page


def test_the_detail_has_a_contrast_of_its_own(tmp_path):
    truth = CLEAN.copy()
    truth[:20, :20] += 20000
    page = page_of(tmp_path, report(truth=truth))
    whole, detail = re.findall(r"black is (\S+) and white (\S+) grey", text_of(page))
    frame = shown_frame(report(truth=truth))
    window = detail_of(frame)
    assert [float(limit) for limit in whole] == pytest.approx(np.percentile(truth, (0.1, 99.9)), rel=1e-3)
    expected = np.percentile(truth[window.slices], (0.1, 99.9))
    assert [float(limit) for limit in detail] == pytest.approx(expected, rel=1e-3)
    assert limits_in(frame, window) == pytest.approx(expected)


def test_images_are_aligned_and_share_the_truths_contrast():
    frame = shown_frame(report())
    assert list(frame.images) == [INPUT, "laplace", HOSTILE, TRUTH]
    assert frame.limits == pytest.approx(np.percentile(CLEAN, (0.1, 99.9)))
    aligned = align(SMOOTH, CLEAN)
    assert frame.images["laplace"] == pytest.approx(aligned)
    # the same image in other grey levels is the same image
    assert frame.images[HOSTILE] == pytest.approx(aligned, rel=1e-3)
    width = frame.limits[1] - frame.limits[0]
    assert frame.differences["laplace"] == pytest.approx((aligned - CLEAN) / width)
    assert frame.largest == pytest.approx(np.percentile(np.abs(frame.differences["laplace"]), 99), rel=1e-3)


def test_unaligned_images_are_shown_as_they_are():
    frame = shown_frame(report(aligned=False))
    assert (frame.images["laplace"] == SMOOTH).all()


def test_residuals_are_input_minus_restored_in_one_contrast():
    frame = shown_frame(report(truth=None))
    assert list(frame.differences) == ["laplace", HOSTILE]
    assert frame.differences["laplace"] == pytest.approx(LOW - SMOOTH, abs=1e-3)
    assert frame.limits == pytest.approx(np.percentile([SMOOTH, 2 * SMOOTH + 7], (0.1, 99.9)))


def test_the_image_of_the_truth_is_no_method(tmp_path):
    panels = [ReportImage(INPUT, LOW), ReportImage("truth", CLEAN.copy()), ReportImage("laplace", SMOOTH)]
    frame = shown_frame(report(images=panels))
    assert list(frame.images) == [INPUT, "laplace", TRUTH]


def test_a_perfect_method_stays_a_method():
    panels = [ReportImage(INPUT, LOW), ReportImage("perfect", CLEAN, {"psnr": math.inf, "ssim": 1.0})]
    frame = shown_frame(report(images=panels))
    assert list(frame.images) == [INPUT, "perfect", TRUTH]
    assert frame.largest == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "at least one image"),
        ({"images": [ReportImage("a", LOW), ReportImage("b", LOW[:50])], "truth": None}, "one shape"),
        ({"truth": CLEAN[:50]}, "one shape"),
        ({"images": [ReportImage("a", LOW), ReportImage("a", SMOOTH)]}, "name of its own"),
        ({"images": [ReportImage(TRUTH, LOW)]}, "name of its own"),
    ],
)
def test_images_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        write_report(tmp_path / "report.html", report(**changes))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        write_report(tmp_path / "nowhere" / "report.html", report())


def test_the_tables_beside_the_page_hold_every_image_and_row(tmp_path):
    given = report(count=70, independent=False)
    path = write_report(tmp_path / "report.html", given)
    assert path == tmp_path / "report.csv"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.csv", "report.html", "report_summary.csv"]
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 70
    assert [row["method"] for row in rows[:3]] == ["input", "laplace", HOSTILE]
    for row in rows:
        expected = given.scores[row["method"]][int(row["image"])]
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected, rel=1e-6)
    with (tmp_path / "report_summary.csv").open(newline="", encoding="utf-8") as file:
        summary = list(csv.DictReader(file))
    assert [(row["method"], row["metric"]) for row in summary] == [(row.method, row.metric) for row in given.rows]
    assert float(summary[1]["mean"]) == pytest.approx(given.rows[1].mean, rel=1e-5)


def test_the_correlation_is_drawn_averaged_so_that_its_limit_can_be_read_off(tmp_path):
    section = page_of(tmp_path, report()).partition("<h3>Fourier ring correlation</h3>")[2]
    path = re.search(r'<path d="([^"]+)" fill="none" stroke="#e69f00"', section)[1]
    heights = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", path)]
    frame = re.search(r'<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', section)
    top, height = map(float, frame.groups())
    low, expected = (averaged_rings(fourier_ring_correlation(image, CLEAN)[1]) for image in (LOW, SMOOTH))
    bottom = min(-0.1, low.min(), expected.min())
    found = 1.02 - (np.array(heights) - top) / height * (1.02 - bottom)
    assert found == pytest.approx(expected, abs=2e-3)


def test_a_new_metric_is_scored_and_reported_without_another_change(tmp_path, monkeypatch):
    def mean_error(restored, truth):
        return float(np.abs(np.subtract(restored, truth)).mean())

    entry = Metric(
        title="Mean error",
        unit="%",
        digits=1,
        help="How far grey levels are off.",
        higher_is_better=False,
        function=mean_error,
        of_checked=mean_error,
        definition="over all pixels",
        source="Somebody 1999",
        is_main=True,
    )
    monkeypatch.setitem(METRICS, "error", entry)
    scores = {
        name: {0: evaluate({name: Frames(image[None])}, Frames(CLEAN[None]))["mean"][name]}
        for name, image in ((INPUT, LOW), ("laplace", SMOOTH), ("worse", LOW[::-1]))
    }
    images = [ReportImage(INPUT, LOW, scores[INPUT][0]), ReportImage("laplace", SMOOTH, scores["laplace"][0])]
    rows = summarize(scores, reference=None, independent=True)
    page = page_of(tmp_path, report(images=images, scores=scores, rows=rows))
    best = f"{scores['laplace'][0]['error']:.1f}"
    text = text_of(page)
    assert "Mean error (%)" in text
    assert "Mean error over all pixels" in text
    assert f"Mean error {best} %" in text
    assert "Mean error: Somebody 1999" in text
    # the lowest is the best
    assert f"<b>{best}</b>" in page


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what is open")
def test_a_table_that_excel_shows_is_said_before_the_work_and_costs_no_other_file(tmp_path):
    path = tmp_path / "report.html"
    check_report(path)
    write_report(path, report())
    path.unlink()
    with law_of_windows(), (tmp_path / "report.csv").open():
        with pytest.raises(OutputError, match=r"report\.csv cannot be replaced .* Close what has it open"):
            check_report(path)
        with pytest.raises(OutputError, match=r"report\.csv cannot be written.*\. Close what has it open"):
            write_report(path, report())
    assert path.is_file()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["report.csv", "report.html", "report_summary.csv"]
