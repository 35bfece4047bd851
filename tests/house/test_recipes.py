"""The recipes for conda and for a container name what pyproject.toml names."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from napari_care_losses.version import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
OF_CONDA = {"torch": "pytorch", "dask[array]": "dask-core", "bioimageio-spec": "bioimageio.spec"}
"""Packages that conda-forge calls otherwise."""

INSTRUCTIONS = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"}


def requirements(listed):
    """Return version bounds by the names of conda-forge."""
    found = {}
    for one in listed:
        name, bounds = re.fullmatch(r"([\w.\[\]-]+)\s*(.*)", one).groups()
        found[OF_CONDA.get(name, name)] = bounds.replace(" ", "")
    return found


@pytest.fixture(scope="module")
def recipe():
    return yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))


def test_the_conda_recipe_needs_what_the_package_needs(recipe):
    run = requirements(recipe["requirements"]["run"])
    assert run.pop("python") == PROJECT["requires-python"]
    assert run == requirements(PROJECT["dependencies"])
    (builder,) = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    assert requirements([builder]).items() <= requirements(recipe["requirements"]["host"]).items()


def test_the_conda_recipe_bounds_what_the_extras_bring(recipe):
    names = ("acquisition", "bioimageio", "cluster", "formats", "remote", "tensorboard")
    brought = [one for name in names for one in EXTRAS[name]]
    brought += [one for one in EXTRAS["all"] if one.startswith("openvino")]
    assert requirements(recipe["requirements"]["run_constraints"]) == requirements(brought)
    # a new extra of `all` belongs here, too
    assert EXTRAS["all"][0] == f"napari-care-losses[{','.join(names)}]"


def test_the_conda_recipe_is_of_this_version(recipe):
    assert recipe["context"]["version"] == __version__
    assert recipe["package"]["name"] == PROJECT["name"] and recipe["about"]["license"] == PROJECT["license"]
    assert recipe["about"]["summary"] == PROJECT["description"]
    (command,) = PROJECT["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [" = ".join(command)]
    assert (ROOT / recipe["about"]["license_file"]).is_file()


def container_lines():
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]


def test_the_container_takes_a_python_and_extras_that_there_are():
    lines = container_lines()
    assert {instruction for instruction, _ in lines} <= INSTRUCTIONS
    versions = {
        tuple(map(int, re.match(r"python:(\d+)\.(\d+)", rest).groups())) for name, rest in lines if name == "FROM"
    }
    assert len(versions) == 1
    assert f"Programming Language :: Python :: {'.'.join(map(str, *versions))}" in PROJECT["classifiers"]
    (install,) = (rest for name, rest in lines if name == "RUN" and "pip install" in rest)
    extras = re.search(r"\[([\w,]+)\]", install)[1].split(",")
    assert set(extras) <= set(EXTRAS) and "-c constraints.txt" in install and shlex.split(install)


def test_the_container_runs_the_command_and_not_as_root():
    lines = container_lines()
    last = len(lines) - 1 - [name for name, _ in lines][::-1].index("FROM")
    stage = dict(lines[last:])
    assert stage["USER"] not in ("root", "0")
    assert stage["ENTRYPOINT"] == f'["{next(iter(PROJECT["scripts"]))}"]'


def test_the_container_copies_what_is_there():
    for name, rest in container_lines():
        if name == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1])
    kept = {line[1:] for line in (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    sources = {source for name, rest in container_lines() if name == "COPY" for source in rest.split()[:-1]}
    assert {source for source in sources if not source.startswith(("-", "/"))} == kept
