"""OME-Zarr behind http:// and s3:// is read lazily and never written; a network's faults are said in plain words."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from fixtures.servers import FileServer, serving

import napari_care_losses as ncl
from napari_care_losses.errors import InputError, MissingLibraryError, UnreadableError
from napari_care_losses.images.frames import Calibration
from napari_care_losses.io.remote import store
from napari_care_losses.io.remote.address import RemotePath, is_address, located
from napari_care_losses.io.stacks import identity_of, image_name, list_images, read_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

PIXELS = np.random.default_rng(0).integers(1, 4096, (5, 20, 24)).astype(np.uint16)
KNOWN = Calibration(pixel_size=(0.1, 0.1), time_step=2.0)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Return a server of a folder with a movie, `movie.zarr`, as HTTP and as S3."""
    (tmp_path / "served").mkdir()
    ncl.save_stack(tmp_path / "served" / "movie.zarr", PIXELS, axes="TYX", calibration=KNOWN)
    monkeypatch.setattr(store, "PAUSE", 0.01)
    with serving(tmp_path / "served") as running:
        import fsspec

        # as FSSPEC_S3_ENDPOINT_URL sets it
        monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": running.url})
        for name in (*store.AWS, "AWS_SHARED_CREDENTIALS_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        store._filesystem.cache_clear()
        yield running
        store._filesystem.cache_clear()


def movie(server: FileServer, kind: str = "http") -> str:
    return f"{server.url}/movie.zarr" if kind == "http" else "s3://movie.zarr"


@pytest.fixture
def bucket(tmp_path: Path, server: FileServer) -> str:
    """Return the address of the movie in a bucket."""
    shutil.copytree(tmp_path / "served" / "movie.zarr", tmp_path / "served" / "bucket" / "movie.zarr")
    return "s3://bucket/movie.zarr"


class TestAddresses:
    def test_they_are_joined_and_taken_apart_as_paths_are(self) -> None:
        path = located("https://example.org/data/plate.zarr/")
        assert isinstance(path, RemotePath)
        assert str(path / "A" / "1") == "https://example.org/data/plate.zarr/A/1"
        assert (path.name, path.suffix, path.stem) == ("plate.zarr", ".zarr", "plate")
        assert str((path / "A").parent) == str(path) == str(pickle.loads(pickle.dumps(path)))
        assert (path / "A" / "1").relative_to(path).parts == ("A", "1")
        assert located(path) is path

    def test_a_path_that_lost_a_slash_is_still_one(self) -> None:
        assert str(located("https:/example.org/a.zarr")) == "https://example.org/a.zarr"
        assert str(located("S3://bucket/a.zarr")) == "s3://bucket/a.zarr"

    @pytest.mark.parametrize("text", ["a.zarr", "/data/a.zarr", "C:\\a.zarr", "C:/a.zarr", "https", "s3:", "s3/a.zarr"])
    def test_files_are_none(self, text: str) -> None:
        assert not is_address(text)
        assert located(text) == Path(text)

    @pytest.mark.parametrize(
        "text", ["https://me:secret@host/a.zarr", "https://host/a.zarr?sig=secret", "s3://b/a#secret"]
    )
    def test_a_password_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(InputError, match="a user, a password or a query") as refused:
            located(text)
        assert "secret" not in str(refused.value)

    def test_nothing_is_written_to_one(self) -> None:
        for address in ("https://host/a.tif", "s3://bucket/a.zarr"):
            with pytest.raises(InputError, match="where nothing is written"):
                ncl.save_stack(address, PIXELS)


class TestReading:
    def test_over_http(self, server: FileServer) -> None:
        frames = read_stack(movie(server))
        assert (frames.axes, frames.shape, frames.dtype, frames.calibration) == (
            "TYX",
            PIXELS.shape,
            PIXELS.dtype,
            KNOWN,
        )
        np.testing.assert_array_equal(np.stack(list(frames)), PIXELS)
        assert image_name(located(movie(server))) == "movie"

    def test_from_a_bucket_of_s3_without_keys(self, server: FileServer, bucket: str) -> None:
        np.testing.assert_array_equal(np.stack(list(read_stack(bucket))), PIXELS)
        assert not any("Authorization" in headers for headers in server.headers)

    def test_a_frame_asks_for_its_own_chunks(self, server: FileServer) -> None:
        frames = read_stack(movie(server))
        server.asked.clear()
        np.testing.assert_array_equal(frames[3], PIXELS[3])
        assert server.asked == ["movie.zarr/0/c/3/0/0"]

    def test_chunks_in_shards_are_asked_for_as_parts(self, server: FileServer, tmp_path: Path) -> None:
        path = tmp_path / "served" / "movie.zarr" / "0"
        shutil.rmtree(path)
        array = zarr.create_array(path, shape=PIXELS.shape, shards=PIXELS.shape, chunks=(1, 20, 24), dtype="uint16")
        array[:] = PIXELS
        frames = read_stack(movie(server))
        server.headers.clear()
        np.testing.assert_array_equal(frames[3], PIXELS[3])
        assert all("Range" in headers for headers in server.headers)

    def test_images_of_a_converted_file(self, server: FileServer, tmp_path: Path) -> None:
        whole = tmp_path / "served" / "whole.zarr"
        zarr.open_group(whole, mode="w").attrs.update({"ome": {"version": "0.5", "bioformats2raw.layout": 3}})
        for number in range(2):
            shutil.copytree(tmp_path / "served" / "movie.zarr", whole / str(number))
        found = list_images(located(f"{server.url}/whole.zarr"))
        assert [str(one) for one in found] == [f"{server.url}/whole.zarr/{number}" for number in range(2)]
        np.testing.assert_array_equal(read_stack(found[1])[0], PIXELS[0])

    def test_it_is_known_by_its_metadata(self, server: FileServer, tmp_path: Path) -> None:
        before = identity_of(located(movie(server)))
        assert before == identity_of(located(movie(server)))
        zarr.open_group(tmp_path / "served" / "movie.zarr", mode="a").attrs.update({"ome": {"version": "0.5"}})
        assert identity_of(located(movie(server))) != before


class TestFaults:
    @pytest.mark.parametrize("fault", [500, 503, 429, "cut"])
    def test_a_passing_fault_in_the_middle_of_a_frame_is_tried_again(self, server: FileServer, fault: Any) -> None:
        frames = read_stack(movie(server))
        server.faults, server.broken = [fault, fault], "/c/"
        np.testing.assert_array_equal(frames[2], PIXELS[2])

    @pytest.mark.parametrize(
        ("fault", "words"),
        [(500, "answers with status 500, tried 3 times"), (403, "refuses access"), ("cut", "the connection broke off")],
    )
    def test_a_lasting_one_is_said(self, server: FileServer, fault: Any, words: str) -> None:
        frames = read_stack(movie(server))
        server.faults, server.broken = [fault] * 9, "/c/"
        with pytest.raises(
            UnreadableError, match=rf"Frame 2 cannot be read \(http://.*/movie.zarr/0/c/2/0/0 .*{words}"
        ):
            _ = frames[2]

    def test_a_server_that_is_silent_is_given_up(self, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store, "SECONDS_OF_SILENCE", 0.3)
        server.faults = ["silence"] * 3
        with pytest.raises(UnreadableError, match="does not answer in time, tried 3 times"):
            read_stack(movie(server))

    def test_no_image_there(self, server: FileServer) -> None:
        for address in (f"{server.url}/none.zarr", f"{server.url}/movie", "s3://bucket/none.zarr"):
            with pytest.raises(InputError, match=r"There is no OME-Zarr at .*: expected zarr\.json"):
                read_stack(address)

    def test_no_machine_there(self, server: FileServer) -> None:
        with pytest.raises(UnreadableError, match=r"cannot be reached|no machine of this name"):
            read_stack("http://127.0.0.1:9/a.zarr")
        with pytest.raises(UnreadableError, match="no machine of this name, or no network"):
            read_stack("http://no-such-machine.invalid/a.zarr")

    def test_access_is_refused(self, server: FileServer, bucket: str) -> None:
        for address in (movie(server), bucket):
            server.faults = [403] * 20
            with pytest.raises(UnreadableError, match="the server refuses access"):
                read_stack(address)
            server.faults.clear()

    def test_an_image_that_vanishes_is_not_read_as_zeros(self, server: FileServer, tmp_path: Path) -> None:
        frames = read_stack(movie(server))
        shutil.rmtree(tmp_path / "served" / "movie.zarr")
        with pytest.raises(UnreadableError, match="no longer there"):
            _ = frames[1]

    def test_keys_that_are_refused_are_not_printed(
        self, server: FileServer, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECRET")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
        server.faults = [403] * 20
        with pytest.raises(UnreadableError) as refused:
            read_stack(bucket)
        assert any("AKIDSECRET" in headers.get("Authorization", "") for headers in server.headers)
        assert "SECRET" not in str(refused.value).upper()

    @pytest.mark.parametrize(("library", "address"), [("aiohttp", "https://h/a.zarr"), ("s3fs", "s3://b/a.zarr")])
    def test_without_its_library_an_address_says_what_to_install(
        self, server: FileServer, monkeypatch: pytest.MonkeyPatch, library: str, address: str
    ) -> None:
        import sys

        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingLibraryError, match=r'pip install "napari-care-losses\[remote\]"'):
            read_stack(address)
