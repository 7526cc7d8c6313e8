"""Ends a thought that has used up its budget: replaces the chosen tokens by those that close the thought."""

from leviathan_engine.worker.sampling_options import SamplingOptions


class ThoughtBudget:
    """Counts the tokens of one answer's thought."""

    def __init__(self, options: SamplingOptions) -> None:
        """Starts at the first token."""
        self._options = options
        self._inside = options.thinking
        self._left = options.think_budget
        self._forced = list(options.think_end)
        self._forcing = False

    def take(self, chosen: int) -> int:
        """Returns `chosen`, or the token that replaces it."""
        if self._left is None or not self._forced:
            return chosen
        if self._forcing or (self._inside and self._left <= 0 and chosen != self._options.think_close):
            self._forcing = True
            return self._forced.pop(0)
        if chosen == self._options.think_close:
            self._left = None
        elif self._inside:
            self._left -= 1
        elif chosen == self._options.think_open:
            self._inside = True
        return chosen
