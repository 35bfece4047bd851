"""The lowest versions that `make test-lowest` installs are those that the project allows."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).parents[2]
EXTRAS = ("all", "bioimageio", "cluster", "docs", "test")


def test_the_lowest_versions_are_the_bounds():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    written = [
        *project["dependencies"],
        *(each for extra in EXTRAS for each in project["optional-dependencies"][extra]),
    ]
    # torch is that of the project's own environment: tools/renew_lowest.sh says why
    bounds = {
        canonicalize_name(requirement.name): Version(specifier.version)
        for requirement in map(Requirement, written)
        for specifier in requirement.specifier
        if specifier.operator == ">=" and requirement.name != "torch"
    }
    lines = (PROJECT / "lowest.txt").read_text(encoding="utf-8").splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    found = {name: Version(lowest[name]) if name in lowest else None for name in bounds}
    assert found == bounds, "tools/renew_lowest.sh .venv/bin/python writes lowest.txt anew"
    assert len(bounds) > 25
