"""A DomainBed sweep that was opened as runs, summed up under the three model-selection rules."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from workbench.core import Run
from workbench.lenses.domains.selection import AVERAGE, selection_table
from workbench.runs.domainbed import ENVIRONMENTS, FILE, FORMAT, records
from workbench.runs.foreign import ForeignRun

#: Rule -> its name in tables, in the order of DomainBed's own.
RULES = {
    "training-domain": "training-domain validation set",
    "leave-one-out": "leave-one-domain-out cross-validation",
    "oracle": "test-domain validation set (oracle)",
}


def sweep_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Accuracy on each held-out environment under each rule, over all DomainBed runs among ``runs``.

    Returns:
        One row a rule, dataset and algorithm; one text column an environment, "mean ± standard error" in percent over
        trials, and their average ``Avg``. Empty where there is no DomainBed run, or no environment was ever held out.
    """
    lines = []
    for run in runs.values():
        if isinstance(run, ForeignRun) and run.format.slug == FORMAT.slug and run.source is not None:
            found, _ = records(run.source / FILE)
            lines += found
    if not lines:
        return pd.DataFrame()
    table = selection_table(lines, ENVIRONMENTS)
    pairs = zip(table["accuracy"], table["error"], strict=True)
    table["text"] = [f"{accuracy:.1f} ± {error:.1f}" if accuracy == accuracy else "-" for accuracy, error in pairs]
    keys = ["rule", "dataset", "algorithm"]
    wide = table.pivot(index=keys, columns="environment", values="text").fillna("-")
    wide = wide.reindex(pd.MultiIndex.from_frame(table[keys].drop_duplicates()))
    order = list(dict.fromkeys(table["environment"]))
    wide = wide[[name for name in order if name != AVERAGE] + [AVERAGE]].reset_index().rename_axis(columns=None)
    return wide.assign(rule=wide["rule"].map(RULES))
