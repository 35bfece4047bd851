"""Plates of OME-Zarr restored into plates."""

from __future__ import annotations

import json
import re
import shutil
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from fixtures.plates import WELLS, field_pixels, lose, metadata_of, write_group, write_plate
from fixtures.random_models import make_model

from napari_care_losses.compute.steps import finish
from napari_care_losses.errors import InputError, ResumeError, UnreadableError
from napari_care_losses.io.ome_zarr_plates import read_plate
from napari_care_losses.io.ome_zarr_reader import is_zarr
from napari_care_losses.io.stacks import list_images, read_stack
from napari_care_losses.restoration.folders import restore_files
from napari_care_losses.restoration.parameters import RestorationParameters, RunOptions
from napari_care_losses.restoration.plates import RestoredPlate, restore_plate
from napari_care_losses.restoration.restore_stack import restore

if TYPE_CHECKING:
    from pathlib import Path

MODEL = make_model()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def restored(path: Path, out: Path, *, resume: bool = False, **options: Any) -> RestoredPlate:
    return finish(restore_plate(path, MODEL, out, run=RunOptions(resume=resume), **options))


def check_fields(out: Path, fields: list[str], numbers: list[int]) -> None:
    """Check that a plate holds these fields and no others, restored as by themselves."""
    assert read_plate(out).fields == fields
    for field, number in zip(fields, numbers, strict=True):
        frames = read_stack(out / field)
        np.testing.assert_allclose(np.stack(list(frames)), restore(field_pixels(number), MODEL), rtol=1e-5)
        assert frames.calibration.pixel_size == (0.5, 0.5)


@pytest.fixture(params=["0.4", "0.5"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_result_is_a_plate_with_the_same_wells_fields_and_acquisitions(tmp_path: Path, version: str) -> None:
    fields = write_plate(tmp_path / "in.ome.zarr", version=version)
    out = tmp_path / "out.ome.zarr"
    assert restored(tmp_path / "in.ome.zarr", out) == RestoredPlate(6, 0, [])
    check_fields(out, fields, list(range(6)))
    for group in ("", *WELLS):
        assert metadata_of(out / group) == metadata_of(tmp_path / "in.ome.zarr" / group)
    assert all(is_zarr(out / row) for row in "AB")
    assert names(tmp_path) == ["in.ome.zarr", "out.ome.zarr"]
    assert not list(out.rglob("*.partial*"))


@pytest.mark.parametrize(("given", "asked"), [("0.4", "0.5"), ("0.5", "0.4")])
def test_another_version_may_be_asked_for(tmp_path: Path, given: str, asked: str) -> None:
    fields = write_plate(tmp_path / "in.ome.zarr", version=given)
    out = tmp_path / "out.ome.zarr"
    finish(restore_plate(tmp_path / "in.ome.zarr", MODEL, out, run=RunOptions(zarr_version=asked)))
    check_fields(out, fields, list(range(6)))
    expected = metadata_of(tmp_path / "in.ome.zarr")["plate"] | {"version": asked}
    assert metadata_of(out)["plate"] == expected
    assert metadata_of(out / "A" / "1")["well"]["version"] == asked
    assert zarr.open_group(out / "B", mode="r").metadata.zarr_format == (2 if asked == "0.4" else 3)
    assert ("ome" in zarr.open_group(out, mode="r").attrs) == (asked == "0.5")


def test_a_well_is_restored_into_a_well_with_its_fields(tmp_path: Path, version: str) -> None:
    write_plate(tmp_path / "in.ome.zarr", version=version)
    well, out = tmp_path / "in.ome.zarr" / "A" / "3", tmp_path / "out.ome.zarr"
    assert restored(well, out) == RestoredPlate(2, 0, [])
    check_fields(out, ["0", "1"], [2, 3])
    assert metadata_of(out) == metadata_of(well)
    assert names(tmp_path) == ["in.ome.zarr", "out.ome.zarr"]
    lose(well, "1")
    with pytest.raises(UnreadableError, match=r"1 of 2 fields is missing \(1\)"):
        restored(well, out)
    assert restored(well, out, incomplete=True).fields == 1
    assert [one["path"] for one in metadata_of(out)["well"]["images"]] == ["0"]
    check_fields(out, ["0"], [2])


def test_a_field_is_restored_into_an_image_with_its_name(tmp_path: Path, version: str) -> None:
    write_plate(tmp_path / "in.ome.zarr", version=version)
    (tmp_path / "out").mkdir()
    field = tmp_path / "in.ome.zarr" / "B" / "2" / "1"
    assert all(not report.problem for report in restore_files([field], MODEL, tmp_path / "out", model_name="m"))
    assert names(tmp_path / "out") == ["in_B_2_1_restored-m.ome.zarr"]
    frames = read_stack(tmp_path / "out" / "in_B_2_1_restored-m.ome.zarr")
    np.testing.assert_allclose(np.stack(list(frames)), restore(field_pixels(5), MODEL), rtol=1e-5)


def test_labels_are_left_out(tmp_path: Path, version: str) -> None:
    fields = write_plate(tmp_path / "in.ome.zarr", version=version)
    write_group(tmp_path / "in.ome.zarr" / "A" / "1" / "0" / "labels", version, {"labels": ["nuclei"]})
    out = tmp_path / "out.ome.zarr"
    restored(tmp_path / "in.ome.zarr", out)
    check_fields(out, fields, list(range(6)))
    assert not list(out.rglob("labels"))


class TestStopping:
    def test_a_stopped_run_is_no_plate_and_is_resumed(self, tmp_path: Path, version: str) -> None:
        fields = write_plate(tmp_path / "in.ome.zarr", version=version)
        out = tmp_path / "out.ome.zarr"
        whole = len(list(restore_plate(tmp_path / "in.ome.zarr", MODEL, out)))
        shutil.rmtree(out)
        for steps in (1, whole // 2, whole - 1):
            work = restore_plate(tmp_path / "in.ome.zarr", MODEL, out)
            list(islice(work, steps))
            work.close()
            assert not out.exists()
            partial = tmp_path / "out.ome.zarr.partial"
            assert not is_zarr(partial)
            assert not any(is_zarr(partial / well) for well in WELLS)
            rest = list(restore_plate(tmp_path / "in.ome.zarr", MODEL, out, run=RunOptions(resume=True)))
            assert len(rest) < whole
            check_fields(out, fields, list(range(6)))
            assert names(tmp_path) == ["in.ome.zarr", "out.ome.zarr"]
            shutil.rmtree(out)

    def test_a_whole_result_is_not_made_again(self, tmp_path: Path) -> None:
        write_plate(tmp_path / "in.ome.zarr")
        out = tmp_path / "out.ome.zarr"
        restored(tmp_path / "in.ome.zarr", out)
        assert list(restore_plate(tmp_path / "in.ome.zarr", MODEL, out, run=RunOptions(resume=True))) == []

    def test_another_job_is_not_resumed_but_begun_afresh(self, tmp_path: Path) -> None:
        fields = write_plate(tmp_path / "in.ome.zarr")
        out = tmp_path / "out.ome.zarr"
        work = restore_plate(tmp_path / "in.ome.zarr", MODEL, out)
        list(islice(work, 5))
        work.close()
        parameters = RestorationParameters(normalization="stack")
        with pytest.raises(ResumeError):
            restored(tmp_path / "in.ome.zarr", out, resume=True, parameters=parameters)
        restored(tmp_path / "in.ome.zarr", out)
        check_fields(out, fields, list(range(6)))

    def test_an_earlier_result_stays_until_the_new_one_is_whole(self, tmp_path: Path) -> None:
        fields = write_plate(tmp_path / "in.ome.zarr")
        out = tmp_path / "out.ome.zarr"
        restored(tmp_path / "in.ome.zarr", out)
        work = restore_plate(tmp_path / "in.ome.zarr", MODEL, out, RestorationParameters(normalization="stack"))
        list(islice(work, 5))
        check_fields(out, fields, list(range(6)))
        list(work)
        assert names(tmp_path) == ["in.ome.zarr", "out.ome.zarr"]
        changed = np.stack(list(read_stack(out / "A/1/0")))
        assert not np.allclose(changed, restore(field_pixels(0), MODEL))


class TestWhatIsMissing:
    def test_wells_and_fields_are_counted_and_named(self, tmp_path: Path, version: str) -> None:
        path, out = tmp_path / "in.ome.zarr", tmp_path / "out.ome.zarr"
        fields = write_plate(path, version=version)
        lose(path, "A/3", "B/2/1")
        said = f"{path} is not whole: 1 of 3 wells is missing (A/3) and 1 of 4 fields is missing (B/2/1)."
        for use in (lambda: restored(path, out), lambda: list_images(path)):
            with pytest.raises(UnreadableError, match=re.escape(said) + ".*--incomplete"):
                use()
        assert names(tmp_path) == ["in.ome.zarr"]
        kept = [fields[0], fields[1], fields[4]]
        assert list_images(path, incomplete=True) == [path / field for field in kept]
        result = restored(path, out, incomplete=True)
        assert result == RestoredPlate(3, 0, [said])
        check_fields(out, kept, [0, 1, 4])
        plate = metadata_of(out)["plate"]
        assert [one["path"] for one in plate["wells"]] == ["A/1", "B/2"]
        assert plate["rows"] == metadata_of(path)["plate"]["rows"]
        assert plate["field_count"] == 2
        assert metadata_of(out / "B/2")["well"]["images"] == [{"path": "0", "acquisition": 0}]
        # the same command again makes nothing anew
        assert list(restore_plate(path, MODEL, out, run=RunOptions(resume=True), incomplete=True)) == []

    def test_all_of_it(self, tmp_path: Path) -> None:
        path = tmp_path / "in.ome.zarr"
        write_plate(path)
        lose(path, "A", "B")
        for incomplete in (False, True):
            with pytest.raises(UnreadableError, match="none of its 3 wells is there"):
                restored(path, tmp_path / "out.ome.zarr", incomplete=incomplete)

    def test_a_field_that_cannot_be_read_does_not_stop_the_others(self, tmp_path: Path) -> None:
        path, out = tmp_path / "in.ome.zarr", tmp_path / "out.ome.zarr"
        fields = write_plate(path)
        chunk = next(one for one in (path / "A/1/1").rglob("c/*/*/*") if one.is_file())
        chunk.write_bytes(b"spoilt")
        with pytest.raises(UnreadableError, match=r"1 of 6 fields .*A/1/1: Frame \d cannot be read.* stay beside"):
            restored(path, out)
        assert not out.exists()
        result = finish(restore_plate(path, MODEL, out, run=RunOptions(resume=True), incomplete=True))
        assert result.fields == 5
        assert any("Left out: A/1/1" in note for note in result.notes)
        check_fields(out, [field for field in fields if field != "A/1/1"], [0, 2, 3, 4, 5])
        assert not list(out.rglob("*.partial*"))

    def test_none_that_can_be_restored_leaves_nothing_behind(self, tmp_path: Path) -> None:
        path = tmp_path / "in.ome.zarr"
        write_plate(path)
        with pytest.raises(InputError, match=r"No field of .* can be restored. A/1/0: Frames 5:9 were asked for"):
            restored(path, tmp_path / "out.ome.zarr", selection=[(5, 9)])
        assert names(tmp_path) == ["in.ome.zarr"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("out.tif", r"a plate, which is restored into a plate: name it \*.ome.zarr"),
            ("in.ome.zarr", "would overwrite its input"),
            ("in.ome.zarr/A/out.zarr", "would overwrite its input"),
            ("file.zarr", "is no OME-Zarr"),
            ("no/out.zarr", "does not exist"),
        ],
    )
    def test_outputs(self, tmp_path: Path, name: str, said: str) -> None:
        write_plate(tmp_path / "in.ome.zarr")
        (tmp_path / "file.zarr").write_bytes(b"mine")
        with pytest.raises(InputError, match=said):
            restored(tmp_path / "in.ome.zarr", tmp_path / name)
        assert names(tmp_path) == ["file.zarr", "in.ome.zarr"]

    @pytest.mark.parametrize(
        ("found", "put", "said"),
        [
            ('"path": "A/1"', '"path": "../x"', "outside its folder"),
            ('"path": "A/1"', '"path": 3', "must name the path"),
            ('"name": "A"', '"name": "A b"', "rows must have names of letters and digits"),
            ('"name": "B"', '"name": "A"', "all different"),
            ('"rowIndex": 1', '"rowIndex": 0', "well 'B/2' must have the indices and names"),
            ('"rowIndex": 1', '"rowIndex": 7', "well 'B/2' must have the indices and names"),
            ('"rowIndex": 1', '"row": 1', "well 'B/2' must have the indices and names"),
            ('"A/3"', '"A/1"', "must have the indices"),
            ('"wells": [', '"wells": 3, "more": [', "expected a list of 'wells'"),
            ('"version": "0.5"', '"version": "0.3"', "version 0.3"),
        ],
    )
    def test_metadata_that_break_the_rules(self, tmp_path: Path, found: str, put: str, said: str) -> None:
        path = tmp_path / "in.ome.zarr"
        write_plate(path)
        told = json.dumps(json.loads((path / "zarr.json").read_text()))
        assert found in told
        (path / "zarr.json").write_text(told.replace(found, put))
        with pytest.raises(InputError, match=said):
            restored(path, tmp_path / "out.ome.zarr")
        assert names(tmp_path) == ["in.ome.zarr"]

    @pytest.mark.parametrize("images", [[], [{"path": "0"}, {"path": "0"}], [{"path": "../../A/1/0"}], 3, [3]])
    def test_wells_that_break_the_rules(self, tmp_path: Path, images: Any) -> None:
        path = tmp_path / "in.ome.zarr"
        write_plate(path)
        write_group(path / "A/1", "0.5", {"well": {"images": images}})
        with pytest.raises(InputError):
            restored(path, tmp_path / "out.ome.zarr")


def test_a_plate_in_a_folder_is_restored_into_a_plate(tmp_path: Path) -> None:
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    fields = write_plate(tmp_path / "in" / "p.ome.zarr")
    reports = list(restore_files([tmp_path / "in" / "p.ome.zarr"], MODEL, tmp_path / "out", model_name="m"))
    assert reports[-1].problem == ""
    assert reports[-1].fraction == 1
    check_fields(tmp_path / "out" / "p_restored-m.ome.zarr", fields, list(range(6)))
    *_, last = restore_files(
        [tmp_path / "in" / "p.ome.zarr"], MODEL, tmp_path / "out", model_name="m", file_format="tiff"
    )
    assert "restored into a plate" in last.problem
