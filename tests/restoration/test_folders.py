import shutil
from itertools import islice

import numpy as np
import pytest
from fixtures.plates import write_plate
from fixtures.random_models import image_of, make_model

from napari_care_losses.errors import InputError
from napari_care_losses.images.frames import Frames
from napari_care_losses.images.normalization import Standardization
from napari_care_losses.io.stacks import save_stack
from napari_care_losses.io.tiff_reader import read_tiff
from napari_care_losses.restoration.folders import output_path, restore_files, stacks_in
from napari_care_losses.restoration.restore_stack import RestorationParameters, restore


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two stacks, and an empty one beside it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name, count in (("b", 2), ("a", 3)):
        save_stack(tmp_path / "in" / f"{name}.tif", Frames(image_of((count, 24, 20), count), "TYX"))
    return tmp_path / "in"


def restored(folder, model, **options):
    out = folder.parent / "out"
    return restore_files(stacks_in(folder), model, out, model_name="mine", **options)


def test_every_stack_is_restored_as_by_itself(folder) -> None:
    model = make_model()
    reports = list(restored(folder, model))
    finished = [(report.number, report.total, report.path.name) for report in reports if report.fraction == 1]
    assert finished == [(0, 2, "a.tif"), (1, 2, "b.tif")]
    assert not any(report.problem for report in reports)
    for path in stacks_in(folder):
        result = read_tiff(output_path(path, folder.parent / "out", "mine"))
        assert np.allclose(np.asarray(result.data), restore(np.asarray(read_tiff(path).data), model))


def test_results_in_the_same_folder_are_not_restored_again(folder) -> None:
    model = make_model()
    list(restore_files(stacks_in(folder), model, folder, model_name="mine"))
    assert [path.name for path in stacks_in(folder)] == ["a.tif", "b.tif"]
    assert len(list(folder.iterdir())) == 4


def test_a_file_that_fails_is_reported_and_the_others_are_done(folder) -> None:
    (folder / "aa.tif").write_bytes((folder / "a.tif").read_bytes()[:700])
    problems = {report.path.name: report.problem for report in restored(folder, make_model()) if report.fraction == 1}
    assert list(problems) == ["a.tif", "aa.tif", "b.tif"]
    assert "cut short" in problems["aa.tif"] or "cannot be read" in problems["aa.tif"]
    assert not problems["a.tif"]
    assert not problems["b.tif"]
    assert sorted(path.name for path in (folder.parent / "out").iterdir()) == [
        "a_restored-mine.tif",
        "b_restored-mine.tif",
    ]


def test_what_is_to_be_known_of_a_file_and_its_frames_comes_with_its_end(folder) -> None:
    stack = np.asarray(read_tiff(folder / "a.tif").data).copy()
    stack[1] = 7
    save_stack(folder / "a.tif", Frames(stack, "TYX"))
    notes = [(report.path.name, report.note) for report in restored(folder, make_model()) if report.fraction == 1]
    assert notes == [("a.tif", "Left as they are, being blank: frame 1."), ("b.tif", "")]


def test_a_stopped_run_continues_where_it_stopped(folder) -> None:
    model = make_model()
    whole = list(restored(folder, model))
    shutil.rmtree(folder.parent / "out")
    (folder.parent / "out").mkdir()
    stopped = restored(folder, model)
    list(islice(stopped, 2))
    stopped.close()
    rest = list(restored(folder, model))
    assert len(rest) < len(whole)
    again = list(restored(folder, model))
    assert [report.fraction for report in again] == [1, 1]


def test_a_stopped_run_with_other_settings_starts_anew(folder) -> None:
    model = make_model()
    stopped = restored(folder, model)
    list(islice(stopped, 2))
    stopped.close()
    parameters = RestorationParameters(normalization="stack")
    assert not any(report.problem for report in restored(folder, model, parameters=parameters))
    result = read_tiff(folder.parent / "out" / "a_restored-mine.tif")
    assert np.allclose(
        np.asarray(result.data), restore(np.asarray(read_tiff(folder / "a.tif").data), model, parameters)
    )


def test_a_folder_without_stacks_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="no folder"):
        stacks_in(tmp_path / "no")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="no image file"):
        stacks_in(tmp_path)


def test_a_model_of_a_dataset_has_one_range_a_file_only_if_asked(folder) -> None:
    model = make_model(normalization=Standardization(of_dataset=True))
    write_plate(folder / "plate.ome.zarr")
    plate = restore_files([folder / "plate.ome.zarr"], model, folder, model_name="mine")
    for work in (restored(folder, model), plate):
        with pytest.raises(InputError, match="of several files or fields each has its own"):
            list(work)
    shutil.rmtree(folder / "plate.ome.zarr")
    parameters = RestorationParameters(normalization="stack")
    assert not any(report.problem for report in restored(folder, model, parameters=parameters))
    alone = restore_files([folder / "a.tif"], model, folder, model_name="alone")
    assert not any(report.problem for report in alone)


def test_two_files_into_one_result_are_refused(tmp_path) -> None:
    # also where the names are one file on Windows and macOS
    for first, second in (("a.tif", "a.tiff"), ("Cell.tif", "CELL.tif"), ("u\u0308.tif", "\u00fc.tif")):
        with pytest.raises(InputError, match="both be restored into"):
            list(restore_files([tmp_path / first, tmp_path / second], make_model(), tmp_path, model_name="mine"))
