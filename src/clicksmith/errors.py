"""Every error a user can cause, one class per way to react.

    ClicksmithError
    ├─ SchemaError(ValueError)        the schema contradicts itself
    ├─ DataError(ValueError)          the data contradicts the schema   (file, row, column, value)
    ├─ CompositionError(ValueError)   two parts cannot be combined      (both names, reason, alternative)
    ├─ UnknownNameError(KeyError)     nothing is registered under that name
    ├─ NotFittedError(RuntimeError)   used before it was fitted or built
    ├─ DivergedError(RuntimeError)    loss not finite                   (step, rate, last finite loss, parameter)
    ├─ ArtifactError(ValueError)      a saved file is unreadable, altered or of another version
    ├─ StorageError(OSError)          a file could not be read or written (disk full, a folder in the way, a lock)
    └─ UsageError(ValueError)         options that contradict each other

Messages read `<what is wrong, with the value> — <where> — <what to do>`; the command line prints them without a
traceback and exits with status 2.
"""


class ClicksmithError(Exception):
    """Base of every error that a user can cause and mend."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0]) if self.args else ""


class SchemaError(ClicksmithError, ValueError):
    """The schema contradicts itself."""


class DataError(ClicksmithError, ValueError):
    """The data contradicts the schema; the message names file, row, column and value."""


class CompositionError(ClicksmithError, ValueError):
    """Two parts cannot be combined; the message names both and an alternative."""


class UnknownNameError(ClicksmithError, KeyError):
    """Nothing is registered under that name; the message suggests the nearest."""


class NotFittedError(ClicksmithError, RuntimeError):
    """An encoder, model or search was used before it was fitted."""


class DivergedError(ClicksmithError, RuntimeError):
    """Training met a loss that is not finite."""


class ArtifactError(ClicksmithError, ValueError):
    """A saved file is unreadable, altered or written by another version."""


class StorageError(ClicksmithError, OSError):
    """A file could not be read or written."""


class UsageError(ClicksmithError, ValueError):
    """Options contradict each other."""
