"""The peak memory of this process."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_megabytes_of_this_process() -> float:
    """The most memory that this process held so far.

    ``ru_maxrss`` of a started process begins at what its parent held, so Linux's own figure for this program is used
    where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        found = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        if found is not None:
            return int(found) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
