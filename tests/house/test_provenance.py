import argparse
import shlex
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_care_losses.cli.common import add_parameters, given_parameters
from napari_care_losses.errors import InputError
from napari_care_losses.losses.registry import LOSSES
from napari_care_losses.provenance import option_words, powershell_quoted
from napari_care_losses.restoration.parameters import RestorationParameters
from napari_care_losses.training.parameters import DeviceParameters, TrainingParameters

CLASSES = [RestorationParameters, TrainingParameters, DeviceParameters, *LOSSES.values()]


def values(info, default):
    if isinstance(default, bool):
        return st.booleans()
    if info.choices:
        return st.sampled_from(info.choices)
    number = info.none_number if default is None else default
    bounds = {"min_value": max(info.low, -(2**53)), "max_value": min(info.high, 2**53)}
    drawn = (
        st.integers(**{name: int(bound) for name, bound in bounds.items()})
        if isinstance(number, int)
        else st.floats(**bounds)
    )
    return drawn | st.none() if default is None else drawn


@st.composite
def parameters_of(draw, kind):
    chosen = {name: draw(values(info, getattr(kind(), name))) for name, info in kind.described().items()}
    # whatever does not go together is left at its default
    for name in [*chosen, None]:
        try:
            return kind(**chosen)
        except InputError:
            chosen.pop(name, None)
    return kind()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_parameters_survive_the_way_through_the_command_line(kind, data):
    parameters = data.draw(parameters_of(kind))
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_parameters(parser, kind)
    words = option_words(parameters)
    assert kind(**given_parameters(parser.parse_args(words), kind)) == parameters
    changed = [one.name for one in fields(kind) if getattr(parameters, one.name) != getattr(kind(), one.name)]
    flags = {word.partition("=")[0].removeprefix("--").removeprefix("no-") for word in words if word.startswith("--")}
    assert flags == {name.replace("_", "-") for name in changed}


def test_only_what_differs_from_the_defaults_of_the_command_is_written():
    parameters = RestorationParameters(tile_size=64, average_flips=True)
    assert option_words(parameters, {"tile_size": 64}) == ["--average-flips"]
    assert option_words(RestorationParameters(), {"average_flips": True}) == ["--no-average-flips"]


def read_by_powershell(line):
    """Split a line into words by PowerShell's rules for plain words and literal strings."""
    quotes = "'\u2018\u2019\u201a\u201b"
    words, word, place, in_quotes = [], None, 0, False
    while place < len(line):
        letter = line[place]
        if in_quotes and letter in quotes and line[place + 1 : place + 2] and line[place + 1] in quotes:
            word, place = word + letter, place + 1
        elif letter in quotes:
            in_quotes, word = not in_quotes, word or ""
        elif letter == " " and not in_quotes:
            words, word = [*words, word], None
        else:
            assert in_quotes or letter not in '$`"(){}[];,|&<>@#%?*!^~', letter
            word = (word or "") + letter
        place += 1
    assert not in_quotes
    return [one for one in [*words, word] if one is not None]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1), min_size=1))
def test_quoted_words_are_read_back_by_both_shells(words):
    assert shlex.split(shlex.join(words)) == words
    assert read_by_powershell(" ".join(map(powershell_quoted, words))) == words
