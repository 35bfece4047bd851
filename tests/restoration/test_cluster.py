"""Restoring on a Dask cluster: the same pixels as in one process, whatever happens to the workers."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures.cli_runs import in_a_process, save_model, status_of
from fixtures.random_models import make_model

from napari_care_losses.errors import ComputeError, InputError, OutputError
from napari_care_losses.images.frames import Calibration, Frames
from napari_care_losses.io.stacks import read_stack, save_stack
from napari_care_losses.models.architecture import Architecture
from napari_care_losses.restoration.cluster import scheduler as cluster_module
from napari_care_losses.restoration.parameters import RunOptions
from napari_care_losses.restoration.restore_stack import RestorationParameters
from napari_care_losses.restoration.to_file import restore_to_file

distributed = pytest.importorskip("distributed")

SCALED = Architecture(kernel_size=3, filters=2, depth=1, predicts_scale=True)


@pytest.fixture(scope="module")
def client():
    """Return the client of two worker processes with one thread each."""
    threads = cluster_module.cpu_cores
    cluster_module.cpu_cores = lambda: 2
    try:
        with cluster_module.connected(workers=2) as client:
            yield client
    finally:
        cluster_module.cpu_cores = threads


@pytest.fixture
def movie(tmp_path):
    """Return the path of a fading movie of 2 channels, 8 times and 2 planes, in tiles of 32 px each."""
    rng = np.random.default_rng(0)
    image = rng.integers(100, 1000, (8, 2, 2, 40, 36)) * np.exp(-np.arange(8) / 4)[:, None, None, None, None]
    path = tmp_path / "in.ome.zarr"
    save_stack(path, Frames(image.astype(np.uint16), "TCZYX", Calibration(pixel_size=(0.1, 0.1))))
    return path


def restoration(path, out, model=None, *, frames=None, parameters=None, scale_out=None, **options):
    return restore_to_file(
        read_stack(path) if frames is None else frames,
        model or make_model(),
        out,
        parameters or RestorationParameters(tile_size=32, engine="torch"),
        RunOptions(device="cpu", **options),
        source=path,
        scale_out=scale_out,
    )


def run(work):
    """Run to the end; return what was reported and the number of clipped pixels."""
    reports = []
    while True:
        try:
            reports.append(next(work))
        except StopIteration as finished:
            return reports, finished.value


def pixels(path):
    return np.stack(list(read_stack(path)))


def pids(client):
    return sorted(client.run(os.getpid).values())


@pytest.mark.usefixtures("one_torch_thread")
class TestWithWorkers:
    @pytest.mark.parametrize(
        ("engine", "normalization"),
        [
            *(("torch", "frame"), ("torch", "bleaching"), ("auto", "stack"), ("openvino-int8", "stack")),
            *(
                pytest.param(*each, marks=pytest.mark.slow)
                for each in (
                    *(("torch", "stack"), ("auto", "frame"), ("auto", "bleaching")),
                    *(("openvino-int8", "frame"), ("openvino-int8", "bleaching")),
                )
            ),
        ],
    )
    def test_every_kind_of_range_and_engine_gives_the_same_pixels(self, client, movie, tmp_path, engine, normalization):
        options = {"parameters": RestorationParameters(tile_size=32, normalization=normalization, engine=engine)}
        _, clipped = run(restoration(movie, tmp_path / "one.ome.zarr", dtype="uint8", **options))
        reports, there = run(restoration(movie, tmp_path / "many.ome.zarr", dtype="uint8", cluster=client, **options))
        assert (reports[-1].done, reports[-1].total, there) == (32, 32, clipped)
        np.testing.assert_array_equal(pixels(tmp_path / "many.ome.zarr"), pixels(tmp_path / "one.ome.zarr"))

    def test_a_selection_flips_and_the_scale(self, client, movie, tmp_path):
        options = {
            "frames": read_stack(movie).select(2, 5),
            "model": make_model(SCALED, loss="laplace"),
            "parameters": RestorationParameters(tile_size=32, engine="torch", average_flips=True),
        }
        for name, more in (("one", {}), ("many", {"cluster": client})):
            outputs = {"out": tmp_path / f"{name}.ome.zarr", "scale_out": tmp_path / f"{name}-scale.ome.zarr"}
            run(restoration(movie, **outputs, **options, **more))
        for name in ("", "-scale"):
            one, many = (pixels(tmp_path / f"{which}{name}.ome.zarr") for which in ("one", "many"))
            np.testing.assert_array_equal(one, many)

    def test_frames_are_restored_with_those_around_them(self, client, movie, tmp_path):
        model = make_model(Architecture(kernel_size=3, filters=2, depth=1, neighbours=4))
        frames = read_stack(movie).select(2, 6)
        for name, more in (("one", {}), ("many", {"cluster": client})):
            run(restoration(movie, tmp_path / f"{name}.ome.zarr", model, frames=frames, **more))
        one, many = (pixels(tmp_path / f"{which}.ome.zarr") for which in ("one", "many"))
        np.testing.assert_array_equal(one, many)

    def test_the_frames_of_a_killed_worker_are_done_again(self, client, movie, tmp_path):
        run(restoration(movie, tmp_path / "one.ome.zarr"))
        before = pids(client)
        work = restoration(movie, tmp_path / "many.ome.zarr", cluster=client)
        for progress in work:
            if progress.done:
                break
        os.kill(before[0], signal.SIGKILL)
        reports, _ = run(work)
        assert reports[-1].done == 32
        np.testing.assert_array_equal(pixels(tmp_path / "many.ome.zarr"), pixels(tmp_path / "one.ome.zarr"))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ome.zarr", "many.ome.zarr", "one.ome.zarr"]
        client.wait_for_workers(2, timeout=60)
        assert before[0] not in pids(client)

    def test_a_stopped_run_is_resumed_with_or_without_a_cluster(self, client, movie, tmp_path):
        run(restoration(movie, tmp_path / "one.ome.zarr"))
        for first, then in ((client, None), (None, client)):
            out = tmp_path / f"{first is None}.ome.zarr"
            work = restoration(movie, out, cluster=first)
            for progress in work:
                if progress.done > 3:
                    break
            work.close()
            assert not out.exists()
            reports, _ = run(restoration(movie, out, cluster=then, resume=True))
            assert reports[-1].total < 32 * (1 if then else 4)
            np.testing.assert_array_equal(pixels(out), pixels(tmp_path / "one.ome.zarr"))

    def test_bad_input_midway_leaves_nothing_behind(self, client, tmp_path):
        image = np.random.default_rng(0).random((6, 20, 20))
        image[4, 0, 0] = 1e300
        save_stack(tmp_path / "in.tif", Frames(image))
        with pytest.raises(InputError, match="Frame 4: the pixels reach"):
            run(restoration(tmp_path / "in.tif", tmp_path / "out.ome.zarr", cluster=client))
        assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]

    def test_a_worker_that_sees_another_file_is_an_input_error(self, client, movie, tmp_path):
        frames = read_stack(movie)
        save_stack(tmp_path / "other.ome.zarr", Frames(np.ones((3, 8, 8), np.float32)))
        with pytest.raises(InputError, match="another stack on a worker"):
            run(restoration(tmp_path / "other.ome.zarr", tmp_path / "o.ome.zarr", frames=frames, cluster=client))

    def test_a_disk_that_fails_on_a_worker_keeps_what_is_done(self, client, movie, tmp_path):
        out = tmp_path / "many.ome.zarr"
        work = restoration(movie, out, cluster=client)
        for progress in work:
            if progress.done:
                break
        blocked = out.with_name(out.name + ".partial") / "0" / "c" / "7" / "1"
        blocked.parent.mkdir(parents=True, exist_ok=True)
        blocked.write_text("in the way of a folder")
        with pytest.raises(OutputError, match="cannot be written"):
            run(work)
        blocked.unlink()
        reports, _ = run(restoration(movie, out, cluster=client, resume=True))
        assert reports[-1].total < 32

    def test_a_frame_that_kills_every_worker_ends_it(self, client, movie, tmp_path, monkeypatch):
        class Killed:
            def result(self):
                raise distributed.KilledWorker("restore_frame-1", None, 3)

        with pytest.raises(ComputeError, match="Several workers ended"):
            cluster_module._result(Killed())

    def test_a_cluster_does_not_write_tiff(self, client, movie, tmp_path):
        with pytest.raises(InputError, match=r"name the result \*.ome.zarr"):
            run(restoration(movie, tmp_path / "out.tif", cluster=client))


class TestConnecting:
    def test_a_missing_package_is_reported_with_the_command_that_installs_it(self, monkeypatch):
        monkeypatch.setattr(cluster_module, "find_spec", lambda name: None)
        with (
            pytest.raises(InputError, match=r'pip install "napari-care-losses\[cluster\]"'),
            cluster_module.connected(workers=2),
        ):
            pass

    @pytest.mark.parametrize("options", [{}, {"workers": 0}, {"workers": -1}, {"workers": 1, "scheduler": "tcp://a:1"}])
    def test_either_an_address_or_a_number_of_workers_is_needed(self, options):
        with pytest.raises(InputError, match="Expected either"), cluster_module.connected(**options):
            pass

    def test_an_address_without_a_scheduler_is_reported(self, monkeypatch):
        with pytest.raises(InputError, match="no Dask scheduler at none"), cluster_module.connected(scheduler="none"):
            pass

    def test_a_failed_connection_does_not_hold_up_the_next(self, client, monkeypatch):
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(InputError) as caught, cluster_module.connected(scheduler="none"):
                pass
            # garbage that only the search for cycles finds, as an error that is shown somewhere may become
            held = [caught]
            held.append(held)
            del caught, held
            make = distributed.utils.get_loop_factory
            # what it finds is collected in the next client's thread
            monkeypatch.setattr(distributed.utils, "get_loop_factory", lambda: (gc.collect(), make())[1])
            with cluster_module.connected(scheduler=client.scheduler.address) as another:
                assert another.nthreads() == client.nthreads()
        finally:
            if collecting:
                gc.enable()

    def test_a_cluster_that_runs_already_is_used_by_address_and_by_file(self, client, tmp_path):
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": client.scheduler.address}))
        for scheduler in (client.scheduler.address, str(file)):
            with cluster_module.connected(scheduler=scheduler) as another:
                assert another.nthreads() == client.nthreads()
                assert another.cluster is None
        assert client.nthreads()


def test_workers_run_in_the_interpreter_of_the_command(client):
    # on Windows: in its console, or without one if it is pythonw
    assert set(client.run(lambda: __import__("sys").executable).values()) == {sys.executable}


@pytest.mark.skipif(sys.platform == "win32", reason="stands in for the signal of Windows")
@pytest.mark.parametrize("is_local", [True, False])
def test_a_worker_that_shares_the_terminal_ignores_its_interrupts(monkeypatch, is_local):
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    # some runs of tests ignore Ctrl+C themselves
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        from napari_care_losses.restoration.cluster.worker import RestoringPlugin

        worker = SimpleNamespace(state=SimpleNamespace(nthreads=1))
        RestoringPlugin(None, "restore", ignores_interrupts=is_local).setup(worker)
        ignored = {number for number in before if signal.getsignal(number) is signal.SIG_IGN}
        assert ignored == (set(before) if is_local else set())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.slow
class TestCommand:
    @pytest.fixture
    def many(self, folder):
        """Return a folder with a stack of many frames and a model that takes its time."""
        image = np.random.default_rng(0).integers(100, 1000, (40, 128, 128)).astype(np.uint16)
        save_stack(folder / "many.tif", Frames(image, "TYX"))
        save_model(folder / "m.safetensors", Architecture(kernel_size=5, filters=32, depth=2), preset="care")
        return ("restore", "m.safetensors", "many.tif", "--engine", "torch", "--tile-size", 64)

    def test_workers_restore_into_one_image(self, folder, many):
        assert status_of(*many, "--out", "one.ome.zarr") == 0
        assert status_of(*many, "--out", "two.ome.zarr", "--workers", 2) == 0
        np.testing.assert_allclose(pixels(folder / "two.ome.zarr"), pixels(folder / "one.ome.zarr"), rtol=1e-5)
        (folder / "in").mkdir()
        (folder / "low.tif").rename(folder / "in" / "low.tif")
        assert status_of(*many[:2], "in", "--out", "out", "--workers", 2) == 0
        assert [path.name for path in (folder / "out").iterdir()] == ["low_restored-m.ome.zarr"]

    def test_ctrl_c_stops_the_run_and_resume_continues_it(self, folder, many):
        command = in_a_process(*many, "--out", "two.ome.zarr", "--workers", 2)
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        journal = folder / "two.ome.zarr.partial.json"
        deadline = time.monotonic() + 120
        while not (journal.exists() and journal.read_text().count("\n") > 3):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # as a terminal does: to the command and its workers alike
        os.killpg(process.pid, signal.SIGINT)
        message, complained = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "stopped: repeat the command with --resume to continue" in message
        assert "Traceback" not in complained
        assert journal.exists()
        assert not (folder / "two.ome.zarr").exists()
        assert status_of(*many, "--out", "two.ome.zarr", "--resume") == 0
        assert status_of(*many, "--out", "one.ome.zarr") == 0
        np.testing.assert_allclose(pixels(folder / "two.ome.zarr"), pixels(folder / "one.ome.zarr"), rtol=1e-5)
