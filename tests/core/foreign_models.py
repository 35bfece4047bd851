"""What the tests of foreign models share."""

import zipfile
from pathlib import Path

CSBDEEP = Path(__file__).with_name("data") / "csbdeep"
"""Models, an image and restored images made by CSBDeep: ``tools/make_csbdeep_fixture.py``."""


def zip_of(path, files, **options):
    """Write an archive of names and bytes (or ready-made entries and bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return path


def csbdeep_files(name="residual", prefix=""):
    return [(prefix + file.name, file.read_bytes()) for file in sorted((CSBDEEP / name).iterdir())]
