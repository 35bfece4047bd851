from dataclasses import dataclass

import pytest

from napari_care_losses.errors import ParameterError
from napari_care_losses.parameters import Parameters, parameter


@dataclass(frozen=True, kw_only=True)
class Example(Parameters):
    size: int = parameter(64, "Size", "A size.", unit="px", low=16, high=1024)
    rate: float = parameter(0.5, "Rate", "A rate.", low=0, high=1)
    kind: str = parameter("a", "Kind", "A kind.", choices=("a", "b"))
    on: bool = parameter(True, "On", "A switch.")


def test_described_keeps_the_order_and_what_a_form_needs():
    described = Example.described()
    assert list(described) == ["size", "rate", "kind", "on"]
    assert (described["size"].unit, described["size"].low, described["size"].high) == ("px", 16, 1024)


def test_survives_the_way_through_plain_values():
    example = Example(size=32, rate=1, kind="b", on=False)
    assert Example.from_dict(example.to_dict()) == example
    assert isinstance(example.rate, float)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"size": 8}, "between 16 and 1024 px, found 8"),
        ({"size": 64.0}, "of type int"),
        ({"size": True}, "of type int"),
        ({"rate": float("nan")}, "between 0 and 1"),
        ({"kind": "c"}, "one of a, b"),
        ({"on": 1}, "of type bool"),
        ({"other": 1}, "no parameter 'other'; it has: kind, on, rate, size"),
    ],
)
def test_refuses_what_is_out_of_bounds(values, said):
    with pytest.raises(ParameterError, match=said):
        Example.from_dict(values)
