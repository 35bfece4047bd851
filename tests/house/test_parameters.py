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


@dataclass(frozen=True, kw_only=True)
class Optional(Parameters):
    width: int | None = parameter(None, "Width", "A width.", low=1, none_means="automatic", none_number=0)
    share: float | None = parameter(None, "Share", "A share.", low=0, high=1, none_means="as before", none_number=-1.0)


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


def test_none_is_written_as_a_number_and_read_back():
    assert Optional().to_dict() == {"width": 0, "share": -1.0}
    assert Optional.from_dict({"width": 0, "share": -1}) == Optional()
    assert Optional(width=8).to_dict() == {"width": 8, "share": -1.0}


def test_a_value_between_the_number_for_none_and_the_bounds_is_refused():
    with pytest.raises(ParameterError, match=r"share must lie between 0 and 1, or be -1 \(as before\), found -0.5"):
        Optional(share=-0.5)
    with pytest.raises(ParameterError, match="width must be of type int"):
        Optional(width="8")
