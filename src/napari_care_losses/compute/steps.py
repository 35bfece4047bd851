"""Generators that yield their progress and return a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

Step = TypeVar("Step")
Result = TypeVar("Result")


class Steps(Generic[Step, Result]):
    """Iterates a generator and keeps what it returns.

    Parameters
    ----------
    generator : generator
        The work; closing the loop over its steps closes it.

    Attributes
    ----------
    result
        What the generator returned; set once the loop over its steps has ended.

    Examples
    --------
    >>> def summing(values):
    ...     total = 0
    ...     for value in values:
    ...         total += value
    ...         yield value
    ...     return total
    >>> steps = Steps(summing([1, 2, 3]))
    >>> [step for step in steps]
    [1, 2, 3]
    >>> steps.result
    6
    """

    result: Result

    def __init__(self, generator: Generator[Step, None, Result]) -> None:
        self._generator = generator

    def __iter__(self) -> Iterator[Step]:
        self.result = yield from self._generator


def finish(generator: Generator[Step, None, Result]) -> Result:
    """Run a generator to its end and return its result."""
    steps = Steps(generator)
    for _ in steps:
        pass
    return steps.result
