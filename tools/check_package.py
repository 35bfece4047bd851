"""Check the wheel and the sdist in a folder: what is in them, and that napari finds the plugin of the wheel installed.

python tools/check_package.py dist PYTHON

PYTHON is that of an environment that holds the wheel and nothing of this clone.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
REQUIRED = ("napari.yaml", "py.typed", "models/bundled/bandpass-lite.safetensors", "experiments/paper_tables.csv")
UNWANTED = (".tif", ".pyc", ".resume")

DISCOVERY = """
import npe2, napari_care_losses
SAMPLES = {"actin", "mitochondria", "dendra", "z_stack"}
manager = npe2.PluginManager.instance()
manager.discover()
manifest = manager.get_manifest("napari-care-losses")
contributed = manifest.contributions
assert {widget.display_name for widget in contributed.widgets} == {"Restore", "Train", "Compare"}, contributed.widgets
assert {sample.key for sample in contributed.sample_data} == SAMPLES, contributed.sample_data
for command in contributed.commands:
    assert callable(manager.commands.get(command.id)), command.id
print(f"napari finds {manifest.display_name} {napari_care_losses.__version__}: {len(contributed.commands)} commands")
"""


def main(folder: Path, python: str) -> None:
    """Check everything; an AssertionError says what is wrong."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    wanted = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == wanted, f"the wheel differs from src: {sorted(packed ^ wanted)}"
    for name in REQUIRED:
        assert f"napari_care_losses/{name}" in packed, f"the wheel lacks {name}"
    with tarfile.open(sdist) as archive:
        names = ["/".join(name.split("/")[1:]) for name in archive.getnames()]
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt", "tests/conftest.py"):
        assert name in names, f"the sdist lacks {name}"
    for name in (*packed, *(name for name in names if not name.startswith("tests/"))):
        assert not name.endswith(UNWANTED), f"{name} must not be packed"
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in (wheel, sdist))
    print(f"{sizes}; {len(packed)} files in the wheel", flush=True)
    subprocess.run([python, "-I", "-c", DISCOVERY], check=True, cwd="/")
    command = Path(python).with_name("napari-care-losses")
    subprocess.run([command, "models"], check=True, cwd="/")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
