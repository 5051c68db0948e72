"""How often to record so that recording stays a small share of the training time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workbench.core import ConfigError

#: The share of the training time that recording may take by its own clock, by default. Trainings take up to two
#: percentage points longer than that says, for what recording leaves behind in caches and memory: so they stay within
#: 5 % (measured by ``workbench bench recording``).
SHARE = 0.03


class Cadence:
    """Decides at which steps to record, from the measured cost of recording and of training.

    With ``every=None`` the first step asked about is due. The next one is so far away that recording took at most
    ``share`` of the time in between, rounded up to 1, 2 or 5 times a power of ten steps. Cost and step time are
    measured anew after every recording, so the recorded steps depend on the machine. With ``every=n`` every step
    divisible by n is due.

    Args:
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, every: int | None = None, share: float = SHARE, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        if every is not None and every < 1:
            raise ConfigError(f"every must be at least 1 step, or None to choose it from the cost; got {every}.")
        if not 0 < share <= 1:
            raise ConfigError(f"The share of time for recording must be in (0, 1]; got {share}.")
        self.every, self.share = every, share
        self.seconds = 0.0
        self._clock = clock
        self._started = clock()
        self._depth = 0
        self._last: tuple[int, float, float] | None = None  # step, time and seconds spent when last due

    def due(self, step: int) -> bool:
        """Whether to record at this step. Saying yes starts the wait for the next."""
        if self.every is not None:
            return step % self.every == 0
        if self._last is not None:
            last_step, last_time, last_seconds = self._last
            if step == last_step:
                return True
            cost = self.seconds - last_seconds
            training = self._clock() - last_time - cost
            steps = step - last_step
            if steps > 0 and steps < self._wait(cost, training / steps):
                return False
        self._last = (step, self._clock(), self.seconds)
        return True

    def _wait(self, cost: float, step_seconds: float) -> int:
        """Steps that must pass for ``cost`` to be at most ``share`` of the time, as a round number."""
        if cost <= 0:
            return 1
        if step_seconds <= 0:
            return 10**9
        needed = cost * (1 - self.share) / (self.share * step_seconds)
        power = 10 ** math.floor(math.log10(max(needed, 1.0)))
        return next(round(factor * power) for factor in (1, 2, 5, 10) if factor * power >= needed)

    @property
    def fraction(self) -> float:
        """The share of all time since the start that recording took; 0 before any time has passed."""
        passed = self._clock() - self._started
        return self.seconds / passed if passed > 0 else 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time of the block as recording; nested blocks count once."""
        begin = self._clock()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self.seconds += self._clock() - begin
