"""What can go wrong, as exceptions whose messages say what was expected, what was found and what to do.

None of them derives from ``RuntimeError``: the viewer's thread workers drop those in silence.
"""


class CareError(Exception):
    """Base of every error this package raises on purpose; its text is meant for the user."""


class InputError(CareError):
    """Images, files or values given by the user that cannot be used as they are."""


class ParameterError(InputError):
    """A parameter outside its bounds or of the wrong kind."""


class ModelFileError(InputError):
    """A model file that is missing, damaged or not one of ours."""


class MissingLibraryError(InputError):
    """Work that needs a library which is not installed; the message says how to install it."""


class ResumeError(InputError):
    """A stopped run that cannot be resumed with the settings given."""


class OutputError(CareError):
    """A result that could not be written."""


class FilesError(CareError):
    """Some of several files could not be done; the others are."""


class TrainingDivergedError(CareError):
    """The loss became NaN or infinite; the best weights before it are kept."""


class ComputeError(CareError):
    """The device failed: out of memory, or an error of the compute library."""
