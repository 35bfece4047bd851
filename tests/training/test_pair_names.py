"""Pairs told from names, in the many ways people spell them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_care_losses.training.pair_names import explain_unmatched, match_files, match_names


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("low", "high"),
        ("Low", "HIGH"),
        ("actin_low", "actin_high"),
        ("low_actin", "high_actin"),
        ("actin-lo", "actin-hi"),
        ("actin_lo", "actin_hi"),
        ("actin 1 ms", "actin 100 ms"),
        ("actin_1ms", "actin_100ms"),
        ("actin 1ms", "actin 0.1s"),
        ("actin_0.5ms", "actin_1ms"),
        ("actin 0,5 ms", "actin 5 ms"),
        ("500us_actin", "2ms_actin"),
        ("500 µs", "2 ms"),
        ("exp10ms cell3", "exp400ms cell3"),
        ("dendra 10 ms", "dendra 400 ms"),
        ("short exposure", "long exposure"),
        ("cell shortExposure", "cell longExposure"),
        ("cell_raw", "cell_gt"),
        ("cell_raw", "cell_GT"),
        ("raw cell", "cell ground truth"),
        ("cell-raw", "cell-groundtruth"),
        ("cell noisy", "cell clean"),
        ("input", "target"),
        ("train_input_07", "train_target_07"),
        ("cell_lowSNR", "cell_highSNR"),
        ("cell_low_snr", "cell_high_snr"),
        ("mito avg1", "mito avg400"),
        ("mito_avg_1", "mito_avg_16"),
        ("5% laser", "50% laser"),
        ("488nm 2mW", "488nm 20mW"),
        ("cell", "cell_gt"),
        ("cell noisy", "cell"),
        ("low 1ms cell", "high 100ms cell"),
        ("cell low 1 ms", "cell gt"),
        ("high-res low", "high-res high"),
        ("actin-20x-noise1_low", "actin-20x-noise1_high"),
        ("lowLight_001", "highLight_001"),
        ("cell_low_1", "cell_high_001"),
        ("A01 low", "A1 high"),
        ("cellule_bruitée_3", "cellule_vérité_3"),
        ("zelle_verrauscht_3", "zelle_gemittelt_3"),
        ("zelle kurz", "zelle lang"),
        ("célula_bajo", "célula_alto"),
        ("célula débil", "célula fuerte"),
        ("basse_2", "haute_02"),
        ("細胞低1", "細胞高1"),
        ("noisy_7", "average_7"),
        ("cell noisy", "cell averaged"),
        ("cell_0p5pct", "cell_50pct"),
        ("cell 0p5ms", "cell 1p5ms"),
    ],
)
def test_two_spellings_make_a_pair_whichever_comes_first(low, high):
    assert match_names([low, high]).pairs == [(low, high)]
    assert match_names([high, low]).pairs == [(low, high)]


@pytest.mark.parametrize(
    "names",
    [
        ["actin", "mitochondria"],
        ["actin low", "mitochondria high"],
        ["field 1", "field 2"],
        ["actin low", "actin low copy"],
        ["slower", "hippocampus"],
        ["cell 1ms", "cell 5%"],
        ["low 100ms", "high 1ms"],
        ["cell", "cell 10 ms"],
        ["20x", "60x"],
        [],
    ],
)
def test_names_that_make_no_pair_stay_unmatched(names):
    matching = match_names(names)
    assert matching.pairs == []
    assert matching.ambiguous == []
    assert matching.alone == names


def test_many_fields_are_distinguished():
    names = [f"{structure}_{exposure}_{i:02}" for i in range(30) for structure in "ab" for exposure in ("low", "high")]
    matching = match_names(names)
    assert len(matching.pairs) == 60
    assert all(low.replace("low", "high") == high for low, high in matching.pairs)
    assert matching.alone == []


def test_words_decide_before_quantities():
    names = ["low 10 s", "high 10 s", "low 20 s", "high 20 s"]
    assert match_names(names).pairs == [("low 10 s", "high 10 s"), ("low 20 s", "high 20 s")]


@pytest.mark.parametrize(
    "names",
    [
        ["actin 1 ms", "actin 10 ms", "actin 100 ms"],
        ["raw", "noisy", "gt"],
        ["low 1ms", "low 10ms", "high 100ms"],
        ["cell", "cell gt", "cell truth"],
    ],
)
def test_names_that_fit_several_partners_are_left_out_and_reported(names):
    matching = match_names([*names, "other low", "other high"])
    assert matching.pairs == [("other low", "other high")]
    assert matching.ambiguous == [names]
    said = explain_unmatched(matching)
    assert all(name in said for name in names)
    assert "by hand" in said


def test_a_result_is_no_rival_of_its_input():
    names = ["actin 1 ms", "actin 100 ms", "restored actin 1 ms (bandpass-lite)"]
    matching = match_names(names)
    assert matching.pairs == [("actin 1 ms", "actin 100 ms")]
    assert matching.alone == names[2:]


@given(st.lists(st.text(max_size=12), unique=True, max_size=8))
def test_any_names_can_be_matched(names):
    matching = match_names(names)
    used = [name for pair in matching.pairs for name in pair]
    used += [name for group in matching.ambiguous for name in group] + matching.alone
    assert sorted(used) == sorted(names)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        (["low_1", "low_2", "low_10"], ["high_1", "high_2", "high_10"]),
        (["1", "2"], ["1_gt", "2_gt"]),
        (["cell1_1ms", "cell2_1ms"], ["cell1_100ms", "cell2_100ms"]),
        (["cell1_1ms", "cell2_2ms"], ["cell1_100ms", "cell2_150ms"]),
        (["x_noisy", "y_noisy"], ["x", "y"]),
        (["l_1", "l_2", "l_10"], ["h_01", "h_02", "h_10"]),
        (["A01", "B02"], ["A1", "B2"]),
        (["e\u0301tat", "b"], ["\u00e9tat", "b"]),
        (["noisy_1", "noisy_2"], ["average_1", "average_2"]),
        (["x_0p5pct", "y_0p5pct"], ["x_50pct", "y_50pct"]),
        (["ruwe_1", "ruwe_2"], ["mooie_1", "mooie_2"]),
        (["d1.05_low", "d1.5_low"], ["d1.05_high", "d1.5_high"]),
        (["L01", "H01"], ["L01", "H01"]),
        (["H01_low", "L01_low"], ["H01_high", "L01_high"]),
    ],
)
def test_files_of_two_folders_are_matched_by_name(low, high):
    rng = np.random.default_rng(0)
    shuffled = [high[i] for i in rng.permutation(len(high))]
    matching = match_files(low, shuffled)
    assert matching.pairs == list(zip(low, high, strict=True))
    assert not matching.by_order
    assert not explain_unmatched(matching)


def test_files_without_a_partner_are_reported():
    matching = match_files(["001", "002", "004"], ["001", "002", "003"])
    assert matching.pairs == [("001", "001"), ("002", "002")]
    assert matching.alone == ["004", "003"]
    assert explain_unmatched(matching) == "No partner for 004, 003."


def test_the_order_decides_only_where_no_name_does():
    low, high = ["low_9", "low_10", "low_11"], ["high_109", "high_110", "high_111"]
    matching = match_files(low, high)
    assert matching.by_order
    assert matching.pairs == list(zip(low, high, strict=True))
    assert match_files(low, high[:2]).pairs == []
    assert match_files(["cell_1"], ["bead_2"]).pairs == []


def test_numbers_written_alike_come_before_equal_ones():
    low, high = ["low_1", "low_01", "low_3"], ["high_1", "high_01", "high_003"]
    assert match_files(low, high).pairs == list(zip(low, high, strict=True))
    assert match_files(["d1.05"], ["d1.5"]).by_order


def test_a_missing_file_shifts_no_other():
    low, high = [f"l_{i}" for i in range(1, 12) if i != 3], [f"h_{i:02}" for i in range(1, 12)]
    matching = match_files(low, high)
    assert matching.pairs == [(name, f"h_{int(name[2:]):02}") for name in low]
    assert matching.alone == ["h_03"]


def test_an_ambiguous_file_is_left_out():
    matching = match_files(["a_1ms", "b_1ms"], ["a_10ms", "a_100ms", "b_100ms"])
    assert matching.pairs == [("b_1ms", "b_100ms")]
    assert matching.ambiguous == [["a_1ms", "a_10ms", "a_100ms"]]


def test_long_lists_are_cut():
    matching = match_files([f"a{i}" for i in range(9)], [])
    assert explain_unmatched(matching) == "No partner for a0, a1, a2, a3 and 5 more."
