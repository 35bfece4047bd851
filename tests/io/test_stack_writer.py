"""Stacks being written, in every format: in any order, whole or not at all, resumed where they stopped."""

import json

import numpy as np
import pytest

from napari_care_losses.errors import InputError, OutputError, ResumeError
from napari_care_losses.images.frames import Frames
from napari_care_losses.io.stacks import is_stack, read_stack, save_stack, writer_for

STACK = np.random.default_rng(0).normal(size=(5, 20, 30)).astype(np.float32)


@pytest.fixture(params=["out.tif", "out.ome.zarr"])
def path(request, tmp_path):
    return tmp_path / request.param


def writer(path, *, job=None, resume=False, **options):
    return writer_for(path)(path, Frames(STACK), job=job or {}, resume=resume, **options)


def pixels(path):
    return np.stack(list(read_stack(path)))


def journal(path):
    return path.with_name(f"{path.name}.partial.json")


def test_frames_may_be_written_in_any_order_and_appear_at_once(path):
    stack = writer(path)
    for index in (3, 0, 4, 1, 2):
        assert not path.exists()
        stack.write(index, STACK[index])
    stack.close()
    np.testing.assert_array_equal(pixels(path), STACK)
    assert list(path.parent.iterdir()) == [path]


def test_a_stopped_stack_is_resumed(path):
    job = {"model": "a"}
    stack = writer(path, job=job)
    stack.write(2, STACK[2])
    stack.suspend()
    assert not writer_for(path).is_result_of(path, job)
    assert not is_stack(stack.partial)
    with pytest.raises(ResumeError, match="another input, model or settings"):
        writer(path, job={"model": "b"}, resume=True)
    again = writer(path, job=job, resume=True)
    assert again.done == {2}
    for index in (0, 1, 3, 4):
        again.write(index, STACK[index])
    again.close()
    np.testing.assert_array_equal(pixels(path), STACK)
    assert writer_for(path).is_result_of(path, job)
    assert not writer_for(path).is_result_of(path, {"model": "b"})
    assert not writer_for(path).is_result_of(path.with_name("none" + path.suffix), job)


def test_a_half_written_note_is_not_trusted(path):
    """Killed while noting a frame: the note may end anywhere."""
    stack = writer(path)
    stack.write(4, STACK[4])
    stack.suspend()
    journal(path).write_text(journal(path).read_text()[:-1])
    again = writer(path, resume=True)
    assert again.done == set()
    again.discard()
    journal(path).write_text(json.dumps({"job": "x"})[:5])
    writer(path, resume=True).discard()
    assert not list(path.parent.iterdir())


def test_an_existing_stack_stays_until_the_new_one_is_whole(path):
    save_stack(path, STACK + 1)
    stack = writer(path)
    stack.write(0, STACK[0])
    np.testing.assert_array_equal(pixels(path), STACK + 1)
    stack.discard()
    np.testing.assert_array_equal(pixels(path), STACK + 1)
    assert list(path.parent.iterdir()) == [path]
    save_stack(path, STACK)
    np.testing.assert_array_equal(pixels(path), STACK)
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_journal_is_an_error(path):
    writer(path).suspend()
    for text in ("no journal\n", "[1]\n", '{"offset": 8}\n'):
        journal(path).write_text(text)
        with pytest.raises(ResumeError, match=r"is damaged .* leave out --resume"):
            writer(path, resume=True)


def test_a_journal_that_is_gone_is_not_made_anew(path):
    stack = writer(path)
    journal(path).unlink()
    with pytest.raises(OutputError, match=r"Frame 0 of .* cannot be written"):
        stack.write(0, STACK[0])
    stack.discard()
    assert not list(path.parent.iterdir())


def test_a_full_disk_and_a_missing_folder_are_refused_before_anything_is_written(path, monkeypatch):
    with pytest.raises(InputError, match="make it first"):
        save_stack(path.parent / "no" / path.name, STACK)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(OutputError, match="are free there"):
        save_stack(path, STACK)
    assert not list(path.parent.iterdir())
