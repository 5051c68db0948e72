"""A run on disk: its schema, its writer and its reader. Imports nothing else of the workbench, and no torch."""

from workbench.core.errors import ConfigError, MissingDependency, MissingTable, RunFormatError, WorkbenchError
from workbench.core.gramian import Cosines, Gramian
from workbench.core.run import Problem, Run
from workbench.core.schema import Attribute, Dataset, Domain, Module, RunInfo, Task
from workbench.core.tables import TABLES, Table
from workbench.core.validate import validate
from workbench.core.writer import RunWriter

__all__ = [
    "TABLES",
    "Attribute",
    "ConfigError",
    "Cosines",
    "Dataset",
    "Domain",
    "Gramian",
    "MissingDependency",
    "MissingTable",
    "Module",
    "Problem",
    "Run",
    "RunFormatError",
    "RunInfo",
    "RunWriter",
    "Table",
    "Task",
    "WorkbenchError",
    "validate",
]
