"""What can go wrong for a user, as a tree of exceptions.

WorkbenchError
├── ConfigError            an argument or option has a value that cannot be used
├── RunFormatError         a file or folder is not what it should be (names the file and the remedy)
├── MissingTable           a lens or a call needs a table that the run did not record
└── MissingDependency      an optional package is not installed (names the extra)

The command line and the app show the text of a WorkbenchError as it is. Anything else is a bug and stays a traceback.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """Base of every error that a user can mend."""


class ConfigError(WorkbenchError):
    """An argument has a value that cannot be used."""


class RunFormatError(WorkbenchError):
    """A file or folder of a run is damaged, foreign or written by a newer version."""


class MissingTable(WorkbenchError):
    """The run did not record something that was asked for.

    Attributes:
        reason: What is missing, without the remedy.
        record: The lines of Python that record it; empty when there are none.
    """

    def __init__(self, reason: str, record: str = "") -> None:
        super().__init__(f"{reason} Record it with:\n{record}" if record else reason)
        self.reason, self.record = reason, record


class MissingDependency(WorkbenchError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}'. Install it with: pip install 'urlearn-workbench[{extra}]'"
        )
