"""Attacks by CZI, LIF and ND2 files fail: they end in one clear error, or in the pixels that are there."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fixtures.microscope_files import czi_xml, write_czi, write_lif, write_lif_of, write_nd2

from napari_care_losses.errors import CareError, InputError, UnreadableError
from napari_care_losses.io.stacks import list_images, read_stack

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = np.random.default_rng(0).integers(0, 4096, (3, 2, 20, 24)).astype(np.uint16)
SPOILT = 120
"""Files that are spoilt of each kind."""

WRITERS: dict[str, Any] = {
    "czi": lambda path: write_czi(path, [PIXELS[:, None]], times=(0.0, 1.0, 2.0)),
    "lif": lambda path: write_lif(path, {"one": ("TCYX", PIXELS), "fold/two": ("TCYX", PIXELS)}),
    "nd2": lambda path: write_nd2(path, PIXELS, "TCYX", packed=True),
}

LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
)


def read_all(path: Path) -> None:
    """Read every frame of every image."""
    for image in list_images(path):
        for _ in read_stack(image, incomplete=True):
            pass


@pytest.mark.parametrize("kind", WRITERS)
class TestSpoiltFiles:
    def test_every_cut_and_every_flipped_byte_ends_in_words(self, tmp_path: Path, kind: str) -> None:
        path, rng = tmp_path / f"a.{kind}", np.random.default_rng(1)
        WRITERS[kind](path)
        data, refused = path.read_bytes(), 0
        # most bytes are pixels, and of names in ND2 most are empty: what says where things lie is hit more often
        told = np.flatnonzero(np.frombuffer(data, np.uint8) != 0)
        tracemalloc.start()
        for number in range(SPOILT):
            spoilt = bytearray(data)
            if number % 3 == 0:
                del spoilt[int(rng.integers(1, len(data))) :]
            else:
                for place in rng.choice(told[told < 2000] if number % 3 == 1 else told, 1 + number % 7):
                    spoilt[place] = rng.integers(256)
            path.write_bytes(spoilt)
            try:
                read_all(path)
            except CareError as error:
                refused += 1
                assert str(error).isprintable()
        assert refused > SPOILT // 4
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
        tracemalloc.stop()

    def test_an_empty_file(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / f"a.{kind}"
        path.write_bytes(b"")
        with pytest.raises(InputError, match=f"cannot be read as {kind.upper()}"):
            read_stack(path)

    def test_another_format_of_this_name(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / f"a.{kind}"
        path.write_bytes(b"II*\0" + bytes(range(256)) * 8)
        with pytest.raises(InputError, match=f"cannot be read as {kind.upper()}"):
            read_stack(path)


def patched(path: Path, place: int, kind: str, *values: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(kind, data, place, *values)
    path.write_bytes(data)


class TestAbsurdSizes:
    """Sizes are compared with the file before anything of that size is taken into memory."""

    @pytest.mark.parametrize(("place", "name"), [(8, "height"), (28, "width")])
    def test_subblocks_larger_than_the_file(self, tmp_path: Path, place: int, name: str) -> None:
        """A size in the directory is believed for the shape only; the frame does not fit into memory."""
        path = tmp_path / "a.czi"
        write_czi(path, [PIXELS[:1, None]], pyramid=False)
        data = bytearray(path.read_bytes())
        at = data.index(b"ZISRAWDIRECTORY") + 32 + 128 + 32
        for entry in range(2):
            struct.pack_into("<i", data, at + entry * 132 + place, 1 << 30)
            struct.pack_into("<i", data, at + entry * 132 + place + 8, 1 << 30)
        path.write_bytes(data)
        with pytest.raises(InputError):
            read_all(path)

    def test_the_xml_of_a_lif(self, tmp_path: Path) -> None:
        write_lif(tmp_path / "a.lif", {"one": ("TCYX", PIXELS)})
        patched(tmp_path / "a.lif", 9, "<I", 0x7FFFFFFF)
        with pytest.raises(InputError, match="lie outside of it"):
            read_stack(tmp_path / "a.lif")

    def test_more_frames_than_a_file_can_hold(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nd2"
        write_nd2(path, PIXELS[:, 0], "TYX", changed={"uiHeight": 1 << 30})
        with pytest.raises(InputError):
            read_all(path)
        path = tmp_path / "a.lif"
        write_lif(path, {"one": ("TYX", PIXELS[:, 0])})
        claimed = [f'NumberOfElements="{size}"'.encode("utf-16-le") for size in (3, 9999999)]
        data = path.read_bytes().replace(*claimed)
        patch = (len(data) - len(path.read_bytes())) // 2
        path.write_bytes(data)
        patched(path, 9, "<I", struct.unpack_from("<I", data, 9)[0] + patch)
        with pytest.raises(InputError, match="claims"):
            read_stack(path)

    def test_a_frame_that_unpacks_without_end(self, tmp_path: Path) -> None:
        import zlib

        path = tmp_path / "a.nd2"
        bomb = zlib.compress(bytes(64 << 20))
        write_nd2(path, np.zeros((1, 20, 24), np.uint16), "TYX", packed=True)
        data = path.read_bytes()
        plain = zlib.compress(bytes(20 * 24 * 2))
        place = data.index(plain)
        # the chunk says how long it is; what follows is the rest of the file
        spoilt = bytearray(data[:place] + bomb + data[place:])
        struct.pack_into("<Q", spoilt, place - 8 - 4072 - 8, 8 + len(bomb))
        end = struct.unpack_from("<Q", data, len(data) - 8)[0] + len(bomb)
        struct.pack_into("<Q", spoilt, len(spoilt) - 8, end)
        path.write_bytes(spoilt)
        tracemalloc.start()
        assert not read_stack(path)[0].any()
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
        tracemalloc.stop()


class TestXml:
    """XML that declares entities is refused before a parser expands them or opens what they name."""

    def test_of_a_czi(self, tmp_path: Path) -> None:
        xml = LAUGHS + czi_xml([PIXELS[:, None]], "TZC", 1e-7, 1e-7)
        write_czi(tmp_path / "a.czi", [PIXELS[:, None]], xml=xml)
        with pytest.raises(InputError, match="declares a document type"):
            read_stack(tmp_path / "a.czi")

    def test_of_a_lif(self, tmp_path: Path) -> None:
        write_lif_of(tmp_path / "a.lif", LAUGHS + '<LMSDataContainerHeader Version="2" />', [])
        with pytest.raises(InputError, match="declares a document type"):
            read_stack(tmp_path / "a.lif")

    def test_of_an_nd2(self, tmp_path: Path) -> None:
        path = tmp_path / "a.nd2"
        write_nd2(path, PIXELS, "TCYX")
        data = bytearray(path.read_bytes())
        place = data.index(struct.pack("<I", 0x0ABECEDA), 4096) + 16 + 4072
        data[place : place + len(LAUGHS)] = LAUGHS.encode()
        path.write_bytes(data)
        with pytest.raises(InputError, match="declares a document type"):
            read_stack(path)


def test_a_frame_damaged_on_the_disk_says_which_file(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    write_czi(path, [PIXELS[:, None]], pyramid=False)
    frames = read_stack(path)
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(UnreadableError, match=r"Frame 5 cannot be read \(.*a\.czi: .* lie outside of it"):
        _ = frames[5]
