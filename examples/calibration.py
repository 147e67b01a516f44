"""How good the picks of a calibrated ranking are after so many trials, on networks and data whose truth is known.

python examples/calibration.py docs/results/truths            # the tables of docs/results/calibration.md
python examples/calibration.py docs/results/truths --prior    # what the truths say of the prior
python examples/calibration.py docs/results/unseen-truths --committed-prior    # truths that the prior was not fitted on

Each folder of TRUTHS has ``benchmark/`` (a sweep in benchmark mode: the truth), ``half/`` where there is one (a sweep
on search-train, scored on search-val: what a trial would have shown), ``searches/CASE/SEED/members.csv``, and
``rivals/METHOD/SEED/`` with the ``ranking.csv`` and ``sweep.csv`` of other methods that train alone. Nothing is
trained here: a trial of a placement shows what the sweep of half the data found; where there is none, and for
repeats, a normal draw about the truth with the spread of its trainings. Each truth is played with a prior fitted on
the others. Work is counted in whole trainings on search-train: a trial is one, a search two.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import altair as alt
import numpy as np
from numpy.typing import NDArray

from poolsearch.calibration.choose import next_placements
from poolsearch.calibration.features import Features, mean_of_members, standardized
from poolsearch.calibration.model import Observations, posterior
from poolsearch.calibration.prior import PRIOR, Prior, Weight
from poolsearch.evaluation.ground_truth import GroundTruth
from poolsearch.evaluation.stats import kendall_tau
from poolsearch.reports.figures.theme import FAINT, MEMBERS, OTHER, WINNER, Figure, rows, to_png, to_svg
from poolsearch.space import Placement

Floats = NDArray[np.float64]

AFTER = (0, 3, 5, 8)
"""Trials after which picks are looked at."""

LIMITS = (1.0, 1.5)
SEARCH = 2
"""Whole trainings that a search counts as. It trains for 1.5 of them; scores add a third of that where there are
several members, and ranking 0.3 to 0.5 for each member: 1.8 to 4 in all, so that this favours the supernets."""

LEAST_RELIABLE = 0.3
"""Less reliable truths cannot tell good placements from lucky ones: they are shown, but not averaged."""

NARROWEST = 0.35
"""Standard deviation of a prior's weight, at least: a few truths cannot say more."""


@dataclass(frozen=True)
class Search:
    """A search's evaluation of every placement by every member, and by its own member."""

    value_MA: Floats
    own_A: Floats


@dataclass(frozen=True)
class Rival:
    """Ranking by a method that trains alone, the best first, and its work in whole trainings."""

    order: list[str]
    trainings: float


@dataclass(frozen=True)
class Truth:
    """A ground truth with what can be known before it.

    Attributes:
        name: of its folder.
        placements: all A of them.
        default: the place of the network's own.
        macs_A: multiply-adds.
        truth_A: mean metric of the trainings, times 100.
        seeds_AS: single trainings; None where only their mean and spread are known.
        noise: standard deviation of a training, in points.
        reliability: part of the variance between placements that is not noise of their trainings, from 0 to 1.
        half_A: metric of a training on half the images on the other half, times 100; None where there is none.
        searches: by case, one for each seed.
        rivals: by method, one for each seed.
    """

    name: str
    placements: list[Placement]
    default: int
    macs_A: Floats
    truth_A: Floats
    seeds_AS: Floats | None
    noise: float
    reliability: float
    half_A: Floats | None
    searches: dict[str, list[Search]]
    rivals: dict[str, list[Rival]]

    @property
    def ratio_A(self) -> Floats:
        """MACs in times the default's."""
        return self.macs_A / self.macs_A[self.default]

    def features(self, search: Search | None) -> Features:
        """What is known before any trial."""
        score_A = None if search is None else mean_of_members(search.value_MA)
        return Features.of(self.placements, self.macs_A, self.default, score_A)

    def regret(self, value_A: Floats, limit: float = np.inf) -> float:
        """How far the first within a limit on MACs is below the best within it, in points.

        The best of measured means is partly the luckiest: differences count by the part that is not noise.
        """
        within_A = self.ratio_A <= limit
        first = int(np.argmax(np.where(within_A, value_A, -np.inf)))
        return self.reliability * float(self.truth_A[within_A].max() - self.truth_A[first])


def read_truth(folder: Path) -> Truth:
    """A truth from its folder; ``table6`` is the paper's, with the searches of its folder."""
    truth = GroundTruth.table6() if folder.name == "table6" else GroundTruth.of_sweep(folder / "benchmark")
    names = truth.placements
    half = folder / "half"
    half_A = None
    if (half / "sweep.csv").exists():
        by = GroundTruth.of_sweep(half).by_placement
        half_A = np.array([100 * by[name].mean for name in names])
    searches: dict[str, list[Search]] = {}
    for file in sorted((folder / "searches").glob("*/*/members.csv")):
        searches.setdefault(file.parent.parent.name, []).append(_read_search(file, names))
    rivals: dict[str, list[Rival]] = {}
    for file in sorted((folder / "rivals").glob("*/*/ranking.csv")):
        rivals.setdefault(file.parent.parent.name, []).append(_read_rival(file))
    seeds_AS = None if truth.value_AS is None else 100 * truth.value_AS
    of_noise = (truth.noise**2 / np.mean([entry.n for entry in truth.known])) / truth.mean_A.var()
    return Truth(
        folder.name, [Placement.parse(name) for name in names], names.index(truth.default), truth.macs_A,
        100 * truth.mean_A, seeds_AS, 100 * truth.noise, max(0.0, 1 - of_noise), half_A, searches, rivals,
    )  # fmt: skip


def _read_search(file: Path, names: Sequence[str]) -> Search:
    rows = _lines(file)
    members = 1 + max(int(row["member"]) for row in rows)
    value_MA, assignment_MA = np.full((members, len(names)), np.nan), np.zeros((members, len(names)))
    for row in rows:
        at = int(row["member"]), names.index(row["placement"])
        value_MA[at], assignment_MA[at] = float(row["val_metric"]), float(row["assignment"])
    return Search(value_MA, value_MA[assignment_MA.argmax(0), np.arange(len(names))])


def _read_rival(file: Path) -> Rival:
    order = [row["placement"] for row in _lines(file)]
    epochs = [int(row["epochs"]) for row in _lines(file.with_name("sweep.csv"))]
    return Rival(order, sum(epochs) / max(epochs))


def _lines(file: Path) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def fit_prior(truths: Iterable[Truth]) -> Prior:
    """Weights of scores, MACs and their square, in units of each truth's spread: mean and deviation over truths."""
    with_scores, without = list[Floats](), list[Floats]()
    for truth in truths:
        target_A = standardized(truth.truth_A)
        without.append(_weights(target_A, truth.features(None)))
        searches = [search for own in truth.searches.values() for search in own]
        if searches:
            with_scores.append(np.mean([_weights(target_A, truth.features(search)) for search in searches], axis=0))
    macs, macs2, score = _summed(with_scores, 3) if with_scores else (PRIOR.macs, PRIOR.macs2, PRIOR.score)
    macs_alone, macs2_alone = _summed(without, 2)
    return replace(PRIOR, macs=macs, macs2=macs2, score=score, macs_alone=macs_alone, macs2_alone=macs2_alone)


def _weights(target_A: Floats, features: Features) -> Floats:
    columns = [features.macs_A, features.macs2_A, *([] if features.score_A is None else [features.score_A])]
    return np.linalg.lstsq(np.stack(columns, 1), target_A, rcond=None)[0]


def _summed(weights: Sequence[Floats], count: int) -> list[Weight]:
    truths = len(weights)
    spread = np.std(weights, axis=0, ddof=1) * np.sqrt(1 + 1 / truths) if truths > 1 else np.full(count, NARROWEST)
    return [
        Weight(round(float(mean), 2), round(max(float(std), NARROWEST), 2))
        for mean, std in zip(np.mean(weights, axis=0), spread, strict=True)
    ]


@dataclass(frozen=True)
class Played:
    """What came out, for each of :data:`AFTER`: regrets without a limit and within the default's MACs, kendall_tau."""

    free: list[float]
    within: list[float]
    kendall_tau: list[float]


def play(truth: Truth, search: Search | None, prior: Prior, seed: int, before: int = 0, random: bool = False) -> Played:
    """Trials as the calibrated ranking asks for them; ``before`` more are done for free (the price of a search)."""
    features, shown = truth.features(search), _Trials(truth, seed)
    observed, found = Observations.of(), Played([], [], [])
    draw = np.random.default_rng(seed)
    for trials in range(before + max(AFTER) + 1):
        if trials - before in AFTER:
            value_A = posterior(features, observed, prior=prior).mean_A
            found.free.append(truth.regret(value_A))
            found.within.append(truth.regret(value_A, 1.0))
            found.kendall_tau.append(kendall_tau(value_A, truth.truth_A))
        if random:
            index = int(draw.integers(len(truth.placements)))
        else:
            asked = next_placements(features, observed, 0.0, truth.ratio_A, LIMITS, 1, prior)
            if not asked:
                continue
            index = asked[0].index
        observed = Observations.of([*observed.index_T, index], [*observed.points_T, shown.of(index)])
    return found


class _Trials:
    """What trials show."""

    def __init__(self, truth: Truth, seed: int) -> None:
        self._truth, self._draw, self._done = truth, np.random.default_rng(1000 + seed), set[int]()

    def of(self, index: int) -> float:
        again, half_A = index in self._done, self._truth.half_A
        self._done.add(index)
        if half_A is not None and not again:
            return float(half_A[index])
        around_A = self._truth.truth_A if half_A is None else half_A
        return float(around_A[index] + self._truth.noise * self._draw.standard_normal())


def best_of_random(truth: Truth, seed: int, before: int) -> Played:
    """The default and random placements are trained; the best of what was seen is taken."""
    draw, shown = np.random.default_rng(seed), _Trials(truth, seed)
    order = [truth.default, *(i for i in draw.permutation(len(truth.placements)) if i != truth.default)]
    seen_A, found = np.full(len(order), -np.inf), Played([], [], [])
    for trials in range(before + max(AFTER) + 1):
        if trials - before in AFTER:
            value_A = seen_A if np.isfinite(seen_A).any() else np.eye(len(order))[truth.default]
            found.free.append(truth.regret(value_A))
            known_A = np.where(np.arange(len(order)) == truth.default, np.maximum(value_A, -1e9), value_A)
            found.within.append(truth.regret(known_A, 1.0))
            found.kendall_tau.append(float("nan"))
        if trials < len(order):
            seen_A[order[trials]] = shown.of(order[trials])
    return found


def every_placement(truth: Truth, seed: int) -> Played:
    """A trial of every placement, and the best is taken: what trials can show at all, for the work of a whole sweep."""
    shown = _Trials(truth, seed)
    return fixed(truth, np.array([shown.of(index) for index in range(len(truth.placements))]))


def fixed(truth: Truth, value_A: Floats) -> Played:
    """A ranking that learns nothing: the same after any number of trials."""
    each = len(AFTER)
    within, agreement = truth.regret(value_A, 1.0), kendall_tau(value_A, truth.truth_A)
    return Played([truth.regret(value_A)] * each, [within] * each, [agreement] * each)


Method = Callable[[Truth, Prior, int], Played | None]


def methods(cases: Sequence[str], rivals: Sequence[str]) -> dict[str, Method]:
    """Every method by its name. Rivals without a search get as many more trials as the search costs."""

    def searched(case: str) -> Method:
        def one(truth: Truth, prior: Prior, seed: int) -> Played | None:
            own = truth.searches.get(case)
            return None if not own else play(truth, own[seed % len(own)], prior, seed)

        return one

    def own_member(case: str) -> Method:
        def one(truth: Truth, prior: Prior, seed: int) -> Played | None:
            own = truth.searches.get(case)
            return None if not own else fixed(truth, own[seed % len(own)].own_A)

        return one

    def trained_alone(rival: str) -> Method:
        def one(truth: Truth, prior: Prior, seed: int) -> Played | None:
            own = truth.rivals.get(rival)
            if not own:
                return None
            order = own[seed % len(own)].order
            return fixed(truth, np.array([-order.index(str(placement)) for placement in truth.placements], float))

        return one

    plain = replace(PRIOR, rests=(0.0,))

    def regression(truth: Truth, prior: Prior, seed: int) -> Played:
        alone = replace(plain, macs_alone=prior.macs_alone, macs2_alone=prior.macs2_alone)
        return play(truth, None, alone, seed, SEARCH, random=True)

    found: dict[str, Method] = {f"calibrated, {case}": searched(case) for case in cases}
    found["calibrated, no supernet"] = lambda truth, prior, seed: play(truth, None, prior, seed, SEARCH)
    found |= {f"own member (paper), {case}": own_member(case) for case in cases}
    found |= {rival: trained_alone(rival) for rival in rivals}
    found["regression on MACs, random trials"] = regression
    found["best of random trials"] = lambda truth, _, seed: best_of_random(truth, seed, SEARCH)
    found["a trial of every placement"] = lambda truth, _, seed: every_placement(truth, seed)
    found["most MACs"] = lambda truth, _, __: fixed(truth, truth.macs_A)
    found["the default"] = lambda truth, _, __: fixed(truth, np.eye(len(truth.placements))[truth.default])
    return found


def table(title: str, rows: Iterable[tuple[str, list[Played]]]) -> str:
    """A Markdown table of means over plays."""
    heads = [f"{what} {after}" for what in ("regret", "within 1.0x") for after in AFTER] + [
        "kendall_tau 0",
        "kendall_tau 5",
    ]
    lines = [f"### {title}", "", f"| method | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    for name, plays in rows:
        values = [
            statistics.fmean(getattr(p, what)[at] for p in plays) for what in ("free", "within") for at in range(4)
        ]
        values += [statistics.fmean(p.kendall_tau[at] for p in plays) for at in (0, 2)]
        lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |")
    return "\n".join([*lines, ""])


def facts(truth: Truth) -> str:
    """What is to be known of a truth, as a line of a table."""
    seeds = truth.seeds_AS
    own_A = np.eye(len(truth.placements))[truth.default]
    agree = "" if seeds is None or seeds.shape[1] < 2 else f"{_between_seeds(seeds):.2f}"
    half = "" if truth.half_A is None else f"{kendall_tau(truth.half_A, truth.truth_A):.2f}"
    cells = [
        truth.name, len(truth.placements), f"{truth.truth_A.std():.2f}", f"{truth.noise:.2f}",
        f"{truth.reliability:.2f}", agree, half,
        f"{kendall_tau(truth.macs_A, truth.truth_A):.2f}",
        f"{truth.regret(own_A):.2f}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _between_seeds(seeds_AS: Floats) -> float:
    pairs = itertools.combinations(seeds_AS.T, 2)
    return statistics.fmean(kendall_tau(one, other) for one, other in pairs)


def learning(truth: Truth, search: Search, prior: Prior, seed: int) -> Figure:
    """Prediction and truth of every placement, before any trial and after some."""
    features, shown, observed = truth.features(search), _Trials(truth, seed), Observations.of()
    lines: list[dict[str, object]] = []
    against_A = truth.truth_A - truth.truth_A[truth.default]
    for trials in range(max(AFTER) + 1):
        belief = posterior(features, observed, prior=prior)
        low_A, high_A = belief.interval_A()
        lines += [
            {
                "trials": f"after {trials} trials", "truth": float(against_A[a]), "prediction": float(belief.mean_A[a]),
                "low": float(low_A[a]), "high": float(high_A[a]), "trained": bool(a in observed.index_T),
            }
            for a in range(len(against_A)) if trials in (0, 3, 8)
        ]  # fmt: skip
        (one,) = next_placements(features, observed, 0.0, truth.ratio_A, LIMITS, 1, prior)
        observed = Observations.of([*observed.index_T, one.index], [*observed.points_T, shown.of(one.index)])
    span = [min(-4.0, against_A.min()), max(4.0, against_A.max())]
    panels = []
    for name in dict.fromkeys(str(line["trials"]) for line in lines):
        own = alt.Chart(rows([line for line in lines if line["trials"] == name]), title=name)
        x = alt.X("truth:Q", title="truth, points against the default", scale=alt.Scale(domain=span))
        band = own.mark_rule(color=OTHER, opacity=0.3, clip=True).encode(x, alt.Y("low:Q"), alt.Y2("high:Q"))
        dots = own.mark_circle(size=60, clip=True).encode(
            x, alt.Y("prediction:Q", title="prediction", scale=alt.Scale(domain=[-8, 8])),
            color=alt.condition("datum.trained", alt.value(WINNER), alt.value(OTHER)),
        )  # fmt: skip
        ideal = alt.Chart(rows([{"v": v} for v in span])).mark_line(color=FAINT).encode(x="v:Q", y="v:Q")
        panels.append((ideal + band + dots).properties(height=240))
    return Figure("learning", "", "", "", panels, columns=3)


def falling(plays: Sequence[tuple[str, Played]]) -> Figure:
    """Mean regret by the number of trials, a line for each method."""
    lines = [
        {"method": name, "trials": after, "regret": played.free[at]}
        for name, played in plays for at, after in enumerate(AFTER)
    ]  # fmt: skip
    names = [name for name, _ in plays]
    chart = alt.Chart(rows(lines)).mark_line(point=True).encode(
        alt.X("trials:Q", title="trials after the search"),
        alt.Y("regret:Q", title="regret of the pick, points, mean over truths"),
        alt.Color("method:N", title=None, scale=alt.Scale(domain=names, range=MEMBERS[: len(names)])),
    )  # fmt: skip
    return Figure("regret", "", "", "", [chart.properties(height=300)])


def draw(figure: Figure, folder: Path) -> None:
    """Write it as a PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{figure.name}.png").write_bytes(to_png(to_svg(figure)))


def main(
    folder: Path, seeds: int, only_prior: bool, only: Sequence[str], figures: Path | None, committed: bool
) -> None:
    """Print the tables, and draw the figures where there is a folder for them."""
    truths = [
        read_truth(path) for path in sorted(folder.iterdir()) if (path / "benchmark").exists() or path.name == "table6"
    ]
    if only:
        truths = [truth for truth in truths if truth.name in only]
    if only_prior:
        print(fit_prior(truth for truth in truths if truth.reliability >= LEAST_RELIABLE))
        return
    cases = sorted({case for truth in truths for case in truth.searches})
    rivals = sorted({rival for truth in truths for rival in truth.rivals})
    heads = (
        "truth | placements | spread | noise | reliability | kendall_tau of seeds | of half data | of MACs | "
        "regret of the default"
    )
    print(f"| {heads} |", f"|{' --- |' * 9}", sep="\n")
    print("\n".join(map(facts, truths)), "\n")
    played: dict[str, dict[str, list[Played]]] = {}
    for truth in truths:
        others = (other for other in truths if other is not truth and other.reliability >= LEAST_RELIABLE)
        prior = PRIOR if committed else fit_prior(others)
        for name, method in methods(cases, rivals).items():
            plays = [one for seed in range(seeds) if (one := method(truth, prior, seed)) is not None]
            if plays:
                played.setdefault(name, {})[truth.name] = plays
        print(
            table(truth.name, [(name, of[truth.name]) for name, of in played.items() if truth.name in of]), flush=True
        )
    told = [truth.name for truth in truths if truth.reliability >= LEAST_RELIABLE]
    means = [
        (name, [_mean(of[truth]) for truth in told])
        for name, of in played.items()
        if all(truth in of for truth in told)
    ]
    print(table(f"mean over {len(told)} truths", means))
    if figures is not None:
        shown = [
            (name, _mean(plays)) for name, plays in means if not name.startswith(("own member (paper), m2", "the"))
        ]
        draw(falling(shown[:8]), figures)
        first = truths[0]
        prior = fit_prior(other for other in truths[1:] if other.reliability >= LEAST_RELIABLE)
        draw(learning(first, first.searches[cases[0]][0], prior, 0), figures)


def _mean(plays: Sequence[Played]) -> Played:
    def over(what: str) -> list[float]:
        return [statistics.fmean(getattr(p, what)[at] for p in plays) for at in range(len(AFTER))]

    return Played(over("free"), over("within"), over("kendall_tau"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truths", type=Path)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--prior", action="store_true", help="only tell what the truths say of the prior")
    parser.add_argument("--only", nargs="*", default=[], help="names of truths")
    parser.add_argument("--figures", type=Path, help="a folder for two figures")
    parser.add_argument("--committed-prior", action="store_true", help="that of the package, for truths it never saw")
    given = parser.parse_args()
    main(given.truths, given.seeds, given.prior, given.only, given.figures, given.committed_prior)
