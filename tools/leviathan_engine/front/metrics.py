"""Counts and durations in Prometheus' text format, version 0.0.4."""

from collections.abc import Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


class Metric:
    """A counter or a gauge, one value for each set of labels."""

    def __init__(self, name: str, kind: str, text: str, values: Mapping[Labels, float] | None = None) -> None:
        self.name, self.kind, self.text = name, kind, text
        self.values: dict[Labels, float] = dict(values or {})

    def add(self, amount: float = 1, **labels: str) -> None:
        """Adds to the value of these labels."""
        key = tuple(sorted(labels.items()))
        self.values[key] = self.values.get(key, 0) + amount

    def set(self, value: float, **labels: str) -> None:
        """Sets the value of these labels."""
        self.values[tuple(sorted(labels.items()))] = value

    def lines(self) -> list[str]:
        """The metric's lines."""
        return [*self._head(), *(f"{self.name}{_labels(k)} {_number(v)}" for k, v in self.values.items())]

    def _head(self) -> list[str]:
        return [f"# HELP {self.name} {self.text}", f"# TYPE {self.name} {self.kind}"]


class Histogram(Metric):
    """Counts values by upper bounds."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        super().__init__(name, "histogram", text)
        self._bounds = tuple(bounds)
        self._counts = [0] * len(self._bounds)
        self._count = 0
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Takes one value."""
        self._count += 1
        self._sum += value
        for i, bound in enumerate(self._bounds):
            self._counts[i] += value <= bound

    def lines(self) -> list[str]:
        """The metric's lines."""
        pairs = zip((*map(_number, self._bounds), "+Inf"), (*self._counts, self._count), strict=True)
        body = [f'{self.name}_bucket{{le="{bound}"}} {count}' for bound, count in pairs]
        return [*self._head(), *body, f"{self.name}_sum {_number(self._sum)}", f"{self.name}_count {self._count}"]


class Metrics:
    """What the front counts by itself; what is only looked up is added by the caller of `render`."""

    def __init__(self) -> None:
        seconds = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
        self.requests = Metric("leviathan_requests_total", "counter", "Answers, by path and HTTP status.")
        self.prompt_tokens = Metric("leviathan_prompt_tokens_total", "counter", "Tokens of prompts.", {(): 0})
        self.tokens = Metric("leviathan_generated_tokens_total", "counter", "Tokens generated.", {(): 0})
        self.cancelled = Metric("leviathan_cancelled_total", "counter", "Requests whose client went away.", {(): 0})
        self.first = Histogram("leviathan_time_to_first_token_seconds", "From the turn to the first token.", seconds)
        self.waited = Histogram("leviathan_queue_wait_seconds", "From the request to its turn.", seconds)
        self.rate = Metric("leviathan_tokens_per_second", "gauge", "Decoding rate of the last answer.", {(): 0})

    def render(self, more: Sequence[Metric] = ()) -> str:
        """All lines."""
        own = (self.requests, self.prompt_tokens, self.tokens, self.cancelled, self.first, self.waited, self.rate)
        return "\n".join(line for metric in (*own, *more) for line in metric.lines()) + "\n"


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge with one value."""
    return Metric(name, "gauge", text, {(): value})


def _labels(labels: Labels) -> str:
    def escape(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels) + "}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
