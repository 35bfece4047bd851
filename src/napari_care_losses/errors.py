"""What can go wrong, as exceptions whose messages say what was expected, what was found and what to do.

None of them derives from ``RuntimeError``: the viewer's thread workers drop those in silence.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_TEXT = 10_000
"""Characters of a message at most."""


@dataclass(frozen=True)
class ForeignProgram:
    """A program in a model package of another author.

    Attributes
    ----------
    package : str
        What the package calls itself.
    authors : tuple of str
        Who made it, by its own account.
    file : str
        Name of the program's file.
    sha256 : str
        Its digest.
    """

    package: str
    authors: tuple[str, ...]
    file: str
    sha256: str

    def __str__(self) -> str:
        authors = ", ".join(self.authors) or "an unnamed author"
        return (
            f"The network of {self.package!r} by {authors} is a TorchScript program ({self.file}, SHA-256 "
            f"{self.sha256}): foreign code, which runs with all your rights."
        )


class RenamedModelWarning(FutureWarning):
    """A model was asked for by the former name of a bundled one."""


class CareError(Exception):
    """Base of every error this package raises on purpose; its text is meant for the user.

    Parameters
    ----------
    *text : object
        The message. It may quote untrusted files: control characters are escaped, and what is longer than
        `LONGEST_TEXT` is cut off.
    """

    def __init__(self, *text: object) -> None:
        super().__init__(*(_shown(part) if isinstance(part, str) else part for part in text))


def _shown(text: str) -> str:
    text = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}\u2026"
    return "\n".join(map(printable, text.split("\n")))


class InputError(CareError):
    """Images, files or values given by the user that cannot be used as they are."""


class UnreadableError(InputError):
    """Pixels that cannot be read: the file is damaged, or its drive is gone."""


class UnusableImageError(InputError):
    """Images that can be read, but not learnt from: blank, the same twice, NaN, infinite or too large."""


class ParameterError(InputError):
    """A parameter outside its bounds or of the wrong kind."""


class ModelFileError(InputError):
    """A model file that is missing, damaged or not one of ours."""


class UnagreedProgramError(ModelFileError):
    """A model that is a program of another author, which the user has not agreed to run.

    Attributes
    ----------
    program : ForeignProgram
        The program.
    """

    def __init__(self, program: ForeignProgram) -> None:
        super().__init__(
            f"{program} Nothing of it has been run: agree to it if you trust its authors, or ask for an ONNX file."
        )
        self.program = program


class MissingLibraryError(InputError):
    """Work that needs a library which is not installed; the message says how to install it."""


class ResumeError(InputError):
    """A stopped run that cannot be resumed with the settings given."""


class OutputError(CareError):
    """A result that could not be written."""


class FilesError(CareError):
    """Some of several files could not be done; the others are."""


class TrainingDivergedError(CareError):
    """The loss became NaN, infinite or huge; the best weights before it are kept."""


class ComputeError(CareError):
    """The device failed: out of memory, or an error of the compute library."""


def printable(text: str) -> str:
    r"""Return text with unprintable characters escaped: control and format characters, line breaks, surrogates.

    Such characters move the cursor of a terminal, colour it, or hide letters.

    Examples
    --------
    >>> printable("a\nb")
    'a\\nb'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
