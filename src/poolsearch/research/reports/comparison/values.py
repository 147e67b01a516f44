"""What a comparison of methods holds, in plain values.

Metrics and regrets are fractions, correlations lie in [-1, 1], placements have their text for people; None stands for
what is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

ORDERS = {"ranking": "validation", "score": "scores", "test": "test"}
"""What a placement can be ordered by inside a supernet, and how it is called (of the paper's Figure 3 it is not clear
which it shows: all are reported)."""


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation of n values."""

    mean: float | None = None
    std: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class CorrelationSummary:
    """A correlation with the truth; of several seeds the mean, their deviation, and the mean of the intervals."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    std: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class RivalDifference:
    """A mean difference to a rival with its interval and p value."""

    mean: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Pick:
    """What one seed of a case found; ``restricted`` is whether it lies in the restricted space."""

    seed: int
    placement: str
    restricted: bool
    macs_ratio: float | None
    truth: float | None
    truth_n: int | None
    regret: float | None


@dataclass(frozen=True)
class CaseResult:
    """A method with its settings, over its seeds.

    Attributes:
        case: the method and its settings, as they were typed.
        label: a name that no other case has.
        budget: ``own`` (each member is trained as one supernet), ``equal`` (all cases together as much), or empty.
        work: of the search, in whole trainings of the default.
        kendall_tau, rho, given_macs: by what the placements are ordered by; see ``ORDERS``. The last is a partial
            correlation of the values, given log MACs and its square.
        against: by rival: default, macs, random.
    """

    case: str
    label: str
    group: str
    budget: str
    members: int | None
    epochs_total: float | None
    seeds: int | None
    work: float | None
    seconds: float | None
    picks: Sequence[Pick]
    truth: MeanStd
    regret1: MeanStd
    regret5: MeanStd
    macs_ratio: float | None
    kendall_tau: Mapping[str, CorrelationSummary]
    rho: Mapping[str, CorrelationSummary]
    given_macs: Mapping[str, CorrelationSummary]
    against: Mapping[str, RivalDifference]
    verdict: str

    @property
    def found(self) -> dict[str, int]:
        """Every placement that was found, and by how many seeds."""
        found: dict[str, int] = {}
        for pick in self.picks:
            found[pick.placement] = found.get(pick.placement, 0) + 1
        return found

    @property
    def outside(self) -> list[str]:
        """What was found outside the restricted space."""
        return list(dict.fromkeys(pick.placement for pick in self.picks if not pick.restricted))

    @cached_property
    def method(self) -> str:
        return self.case.partition(":")[0]

    @cached_property
    def options(self) -> frozenset[str]:
        """The names of the settings that were typed."""
        return frozenset(part.partition("=")[0] for part in self.case.split(":")[1:])


@dataclass(frozen=True)
class Reference:
    """What needs no search: MACs alone, the default, the best that is known, a random placement."""

    name: str
    pick: str
    truth: float | None
    macs_ratio: float | None
    kendall_tau: CorrelationSummary
    rho: CorrelationSummary
    regret1: float | None
    regret5: float | None


@dataclass(frozen=True)
class TruthSummary:
    """The ground truth that the cases are compared by.

    Attributes:
        part: the images that it is measured on: test, or search-val.
        placements: how many are known.
        seeds: trainings of each.
        noise: standard deviation of one training about its placement's mean.
        seed_kendall_tau: how well two trainings of the whole table agree: no order can be expected to agree better.
        seed_given_macs: the same, as a correlation given MACs.
        whole: whether every placement of the space is known; else only what was picked is.
    """

    source: str
    part: str
    placements: int | None
    seeds: int | None
    noise: float | None
    seed_kendall_tau: CorrelationSummary | None
    seed_given_macs: float | None
    best: str
    best_mean: float | None
    default: MeanStd
    whole: bool


@dataclass(frozen=True)
class Point:
    """A placement in a supernet of a case and seed: its metric on validation there, and its truth."""

    case: str
    seed: int
    placement: str
    val: float | None
    truth: float | None


@dataclass(frozen=True)
class Comparison:
    """All that ``comparison.json`` holds.

    Attributes:
        cases: by group, each group where its first case stands.
        whole_training: epochs and images of training the default once, the unit of work.
    """

    version: str
    command: str
    metric: str
    data: str
    images: int | None
    net: str
    width: int | None
    default: str
    placements: int | None
    seeds: int | None
    total_epochs: float | None
    whole_training: tuple[int | None, int | None]
    truth: TruthSummary
    references: Sequence[Reference]
    cases: Sequence[CaseResult]
    points: Sequence[Point]
    unfinished: Sequence[str]
    notes: Sequence[str]

    @property
    def on(self) -> str:
        """The network and the data, in a few words."""
        return f"{self.net} on {self.data}"

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(case.group for case in self.cases))

    def reference(self, name: str) -> Reference | None:
        """The reference of this name."""
        return next((entry for entry in self.references if entry.name == name), None)


DASH = "–"


def share(value: float | None) -> str:
    """A metric."""
    return DASH if value is None else f"{value:.2%}"


def spread_text(spread: MeanStd) -> str:
    """Mean, deviation, and of how many."""
    if spread.mean is None:
        return DASH
    std = "" if spread.std is None else f" ± {100 * spread.std:.2f}"
    return f"{spread.mean:.2%}{std}" + ("" if spread.n is None else f" ({spread.n})")


def correlation_text(found: CorrelationSummary | None) -> str:
    """A correlation without its interval."""
    return DASH if found is None or found.value is None else f"{found.value:.2f}"


def interval_text(found: CorrelationSummary | None) -> str:
    """Its interval; empty where there is none."""
    if found is None or found.low is None or found.high is None:
        return ""
    return f"{found.low:.2f} to {found.high:.2f}"


def points_text(value: float | None) -> str:
    """A regret in points."""
    return DASH if value is None else f"{100 * value:.2f}"


def against_text(found: RivalDifference | None) -> str:
    """A difference with its interval, in points."""
    if found is None:
        return DASH
    return f"{100 * found.mean:+.2f} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def p_text(found: RivalDifference) -> str:
    """Its p value, escaped for HTML."""
    return f"p {found.p:.3f}" if found.p >= 0.001 else "p &lt; 0.001"


def ratio_text(value: float | None) -> str:
    """MACs, in times the default's."""
    return DASH if value is None else f"{value:.2f} ×"


def work_text(case: CaseResult) -> str:
    """The cost of a search, in whole trainings of the default."""
    return DASH if case.work is None else f"{case.work:.2f}"


def seconds_text(case: CaseResult) -> str:
    return DASH if case.seconds is None else f"{case.seconds:,.0f} s"


def regrets_text(first: float | None, fifth: float | None) -> str:
    """Of the first, and of the best of the first five."""
    return f"{points_text(first)} / {points_text(fifth)}"


def found_placement_texts(case: CaseResult) -> list[str]:
    """Every placement that was found, with the number of seeds where several found it."""
    return [f"{name} ×{count}" if count > 1 else name for name, count in case.found.items()]
