"""How often the verdict errs, and how often it finds a better placement, on studies drawn with Table 6's noise.

Usage: python verdict_simulation.py TABLE6.csv [--studies 200] [--seeds 2 3 5] [--images 10000 300]
           [--only null power interval grown learned]
       python verdict_simulation.py --only rare [--studies 200] [--seeds 2 3 5] [--images 20 50 100] [--processes 2]

TABLE6.csv has the columns blocks_at_32, blocks_at_16, blocks_at_8, accuracy_percent, std_percent. A study is what a run
does after its ranking: finalists and answers are chosen from validation scores, trained with n seeds and tested on N
images; all of this and the verdict are the tool's own functions. Drawn are only the scores and which image each
training gets right:

    right = threshold of the placement's accuracy + difficulty + difficulty for the placement + luck of the seed
            + luck of the seed with the image  > 0,    all normal

The table's deviation over seeds is shared between the last two: `by_images` of its variance comes from single images.
`own` is the part of the images' variance that is each placement's own; the rest they all share. `times` multiplies the
table's deviation, as for trainings that are much shorter than the paper's.

`grown` is about runs that are looked at with 2 seeds, grow and are looked at again with 3, 4 and 6, until a change is
recommended: whoever stops there errs most often.

`learned` is about runs that rank as `poolsearch run` does by itself: by stand-alone trainings (8, without a supernet)
and the model that learns from them. What a training shows is drawn about the truth with its deviation over seeds.

`rare` is about few test images, classes of a few images, and the metrics that count classes alike. Which image a
training gets right is drawn in the same way, with the variances of `Chance`; a wrong one is taken for another class.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from poolsearch import rng
from poolsearch.calibration.choose import next_placements
from poolsearch.calibration.features import Features
from poolsearch.calibration.model import Observations, posterior
from poolsearch.cost import cost_table
from poolsearch.evaluation.looks import ERROR, Look
from poolsearch.evaluation.metrics import contributions
from poolsearch.evaluation.stats import holm, kendall_tau, paired_difference, pooled_variance, wilson
from poolsearch.evaluation.verdict import (
    FEW_IMAGES,
    TrainedNetwork,
    judge_picks,
    pooled_variance_of,
    recommended_pick,
    verdict,
)
from poolsearch.nets.build import NetSpec, blank
from poolsearch.settings.groups import Metric
from poolsearch.settings.tasks import METRICS, metric_name
from poolsearch.space import Placement
from poolsearch.stages.retraining.finalists import Selection, choose_finalists

DEFAULT = Placement.parse("4,3,3")
TOP_K, ANSWER_AT = 3, (1.0, 1.5)
IMAGES_OF_TABLE = 10_000


@dataclass(frozen=True)
class Noise:
    """Where a test accuracy's chance comes from."""

    name: str
    by_images: float
    own: float
    times: float = 1.0


NOISES = (
    Noise("seeds move single images; placements alike", by_images=1.0, own=0.05),
    Noise("half of it moves all images; placements differ", by_images=0.5, own=0.2),
    Noise("seeds move all images; placements alike", by_images=0.05, own=0.05),
    Noise("the same, 8 times Table 6's deviation", by_images=0.05, own=0.05, times=8.0),
)


@dataclass(frozen=True)
class Table:
    """Table 6: accuracy and deviation over seeds, as fractions, and MACs against the default's."""

    placements: list[Placement]
    accuracy_A: NDArray[np.float64]
    std_A: NDArray[np.float64]
    macs_ratio_A: NDArray[np.float64]

    @property
    def default(self) -> int:
        return self.placements.index(DEFAULT)


def read_table(path: Path) -> Table:
    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    placements = [Placement.of_blocks([int(row[f"blocks_at_{size}"]) for size in (32, 16, 8)]) for row in rows]
    costs = cost_table(blank(NetSpec("cifar-resnet20", 10)), 32, 32)
    macs_A = np.array([costs.macs(placement) for placement in placements])
    accuracy_A, std_A = (
        np.array([float(row[name]) / 100 for row in rows]) for name in ("accuracy_percent", "std_percent")
    )
    return Table(placements, accuracy_A, std_A, macs_A / costs.macs(DEFAULT))


def luck_with_images(accuracy: float, variance: float) -> float:
    """The deviation of a seed's luck with an image that makes accuracies differ by ``variance`` on Table 6's images.

    Of two normal numbers with correlation r, the chance that one is above a threshold and the other is not grows with
    1 - r; half of it, over the number of images, is the variance.
    """
    threshold = stats.norm.ppf(accuracy)

    def excess(r: float) -> float:
        both = stats.multivariate_normal.cdf([threshold, threshold], cov=[[1, r], [r, 1]])
        return (accuracy - float(both)) / IMAGES_OF_TABLE - variance

    return math.sqrt(1 - optimize.brentq(excess, 0.0, 1 - 1e-9))


@dataclass(frozen=True)
class Trainer:
    """Draws which images the trainings of each placement get right."""

    truth_A: NDArray[np.float64]
    std_A: NDArray[np.float64]
    noise: Noise
    luck_A: list[float] = field(init=False)

    def __post_init__(self) -> None:
        variance_A = self.noise.by_images * (self.noise.times * self.std_A) ** 2
        most = 0.02 / IMAGES_OF_TABLE  # more would leave little that all networks find easy or hard
        found = [luck_with_images(float(a), min(v, most)) for a, v in zip(self.truth_A, variance_A, strict=True)]
        object.__setattr__(self, "luck_A", found)

    def train(
        self, numbers: Sequence[int], seeds: int, images: int, draw: np.random.Generator
    ) -> list[NDArray[np.bool_]]:
        """Shape (seeds, images) for each of the placements, on the same images."""
        difficulty_N = draw.standard_normal(images)
        found = []
        for a in numbers:
            luck, threshold = self.luck_A[a], float(stats.norm.ppf(self.truth_A[a]))
            lasting = math.sqrt(1 - luck**2)
            own, shared = math.sqrt(self.noise.own), math.sqrt(1 - self.noise.own)
            easy_N = lasting * (shared * difficulty_N + own * draw.standard_normal(images))
            of_seed = self.noise.times * float(self.std_A[a]) * math.sqrt(1 - self.noise.by_images)
            seed_S1 = of_seed / stats.norm.pdf(threshold) * draw.standard_normal((seeds, 1))
            # the seed's luck widens the sum a little: the threshold moves so that the mean stays the truth
            wide = math.sqrt(1 + (of_seed / stats.norm.pdf(threshold)) ** 2)
            found.append(threshold * wide + easy_N + seed_S1 + luck * draw.standard_normal((seeds, images)) > 0)
        return found


@dataclass(frozen=True)
class Study:
    """What a simulated run ended with.

    Attributes:
        moves: a change is recommended.
        gain: the true one of what is recommended; None where nothing is.
        possible: the largest true gain of any answer's pick.
        covered: for each pick that is not the default, whether the interval holds the true difference.
    """

    moves: bool
    gain: float | None
    possible: float
    covered: list[bool]


def choose(table: Table, score_A: NDArray[np.float64]) -> Selection:
    """The finalists and picks of a ranking by these scores."""
    order = np.argsort(-score_A)
    ranking = [{"placement": str(table.placements[a]), "macs_ratio": str(table.macs_ratio_A[a])} for a in order]
    return choose_finalists(ranking, DEFAULT, TOP_K, ANSWER_AT)


def study(
    table: Table, trainer: Trainer, score_A: NDArray[np.float64], seeds: int, images: int, draw: np.random.Generator
) -> Study:
    """Choose, train, test and judge, as a run does after its ranking."""
    chosen = choose(table, score_A)
    numbers = [table.placements.index(finalist.placement) for finalist in chosen.finalists]
    right = trainer.train(numbers, seeds, images, draw)
    trained = {
        table.placements[a]: TrainedNetwork(str(table.placements[a]), float(table.macs_ratio_A[a]), right_SN)
        for a, right_SN in zip(numbers, right, strict=True)
    }
    truth = {placement: float(trainer.truth_A[a]) for a, placement in enumerate(table.placements)}
    spread = pooled_variance_of(list(trained.values()))
    picks = [(limit, trained[pick]) for limit, pick in chosen.picks if pick is not None]
    judged = judge_picks(picks, trained[DEFAULT], spread, int(draw.integers(1 << 30)))
    gains = {str(pick): truth[pick] - truth[DEFAULT] for _, pick in chosen.picks if pick is not None}
    best = recommended_pick(judged)
    moves = verdict(judged, trained[DEFAULT]).startswith("Move")
    assert moves == (best is not None)
    covered = {
        answer.pick.name: found.low <= gains[answer.pick.name] <= found.high
        for answer in judged
        if answer.default is not None and (found := answer.default.difference)
    }
    gain = None if best is None else gains[best.pick.name]
    return Study(moves, gain, max(gains.values()), list(covered.values()))


def noise_for(target: float, accuracy_A: NDArray[np.float64]) -> float:
    """The deviation of validation scores around the truth whose mean ``kendall_tau`` with it is ``target``."""
    normal_RA = np.random.default_rng(0).standard_normal((200, len(accuracy_A)))

    def excess(deviation: float) -> float:
        return float(np.mean([kendall_tau(accuracy_A + deviation * row, accuracy_A) for row in normal_RA])) - target

    return float(optimize.brentq(excess, 1e-5, 0.5, xtol=1e-5))


def share(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count / of:.1%} ({low:.1%} to {high:.1%})"


def null(table: Table, studies: int, seeds: Sequence[int], images: Sequence[int]) -> None:
    print("\n| chance comes from | images | seeds | a change is recommended | intervals that hold the truth |")
    print("| --- | --- | --- | --- | --- |")
    truth_A = np.full(len(table.placements), table.accuracy_A[table.default])
    for noise in NOISES:
        trainer = Trainer(truth_A, table.std_A, noise)
        for N in images:
            for n in seeds:
                found = []
                for i in range(studies):
                    draw = rng.generator(i, f"null/{noise.name}", N, n)
                    found.append(study(table, trainer, draw.standard_normal(len(truth_A)), n, N, draw))
                covered = [one for result in found for one in result.covered]
                moves = share(sum(result.moves for result in found), studies)
                print(f"| {noise.name} | {N:,} | {n} | {moves} | {np.mean(covered):.1%} |", flush=True)


def power(table: Table, studies: int, seeds: Sequence[int], images: Sequence[int], noises: Sequence[Noise]) -> None:
    head = ("chance comes from", "kendall_tau of the ranking", "images", "seeds", "a change is recommended")
    head += ("where a pick is truly better", "its true gain in points, mean", "the best pick's", "without a true gain")
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for noise in noises:
        trainer = Trainer(table.accuracy_A, table.std_A, noise)
        for target in (0.3, 0.5, 0.7):
            deviation = noise_for(target, table.accuracy_A)
            for N in images:
                for n in seeds:
                    found = []
                    for i in range(studies):
                        draw = rng.generator(i, f"power/{noise.name}/{target}", N, n)
                        score_A = table.accuracy_A + deviation * draw.standard_normal(len(table.placements))
                        found.append(study(table, trainer, score_A, n, N, draw))
                    gains = [result.gain for result in found if result.gain is not None]
                    better = [result.moves for result in found if result.possible > 0]
                    cells = (
                        noise.name, f"{target}", f"{N:,}", f"{n}", share(len(gains), studies),
                        share(sum(better), len(better)),
                        f"{100 * np.mean(gains):+.2f}" if gains else "–",
                        f"{100 * np.mean([result.possible for result in found]):+.2f}",
                        f"{sum(gain <= 0 for gain in gains)} of {len(gains)}",
                    )  # fmt: skip
                    print(f"| {' | '.join(cells)} |", flush=True)


LOOKS = (2, 3, 4, 6)
"""Seeds at each look of a run that grows."""


@dataclass(frozen=True)
class GrownStudy:
    """What a simulated run that grows ended with.

    Attributes:
        better_L: whether a change is recommended at each look; the picks stay the same.
        naive_L: whether it would be, were each look the only one.
    """

    better_L: list[bool]
    naive_L: list[bool]


def grown_study(
    table: Table, trainer: Trainer, score_A: NDArray[np.float64], images: int, draw: np.random.Generator
) -> GrownStudy:
    """Choose and train as :func:`study`, and look with more and more of the seeds."""
    chosen = choose(table, score_A)
    numbers = [table.placements.index(finalist.placement) for finalist in chosen.finalists]
    right = trainer.train(numbers, max(LOOKS), images, draw)
    before, found = frozenset[str](), GrownStudy([], [])
    for number, seeds in enumerate(LOOKS, 1):
        trained = {
            table.placements[a]: TrainedNetwork(
                str(table.placements[a]), float(table.macs_ratio_A[a]), right_SN[:seeds]
            )
            for a, right_SN in zip(numbers, right, strict=True)
        }
        spread = pooled_variance_of(list(trained.values()))
        picks = [(limit, trained[pick]) for limit, pick in chosen.picks if pick is not None]
        judged = judge_picks(picks, trained[DEFAULT], spread, 0, look=Look(number, before))
        before |= {answer.pick.name for answer in judged if answer.better}
        found.better_L.append(recommended_pick(judged) is not None)
        found.naive_L.append(any(answer.ahead_at(ERROR) for answer in judged))
    return found


def grown_row(table: Table, studies: int, images: int, asked: tuple[Noise, float | None]) -> str:
    """A line of the table; ``kendall_tau`` None: no placement is better, and the ranking is chance."""
    noise, target = asked
    truth_A = table.accuracy_A if target else np.full(len(table.placements), table.accuracy_A[table.default])
    trainer, deviation = Trainer(truth_A, table.std_A, noise), noise_for(target, truth_A) if target else 1.0
    found: list[GrownStudy] = []
    for i in range(studies):
        draw = rng.generator(i, f"grown/{noise.name}/{target}", images)
        score_A = truth_A + deviation * draw.standard_normal(len(truth_A))
        found.append(grown_study(table, trainer, score_A, images, draw))
    once = [share(sum(result.naive_L[look] for result in found), studies) for look in (0, -1)]
    ever = share(sum(any(result.better_L) for result in found), studies)
    last = share(sum(result.better_L[-1] for result in found), studies)
    naive = share(sum(any(result.naive_L) for result in found), studies)
    cells = (noise.name, f"{target}" if target else "none is better", f"{images:,}", *once, ever, last, naive)
    return f"| {' | '.join(cells)} |"


def grown(table: Table, studies: int, images: Sequence[int], processes: int) -> None:
    head = ("chance comes from", "kendall_tau of the ranking", "images", "one look, 2 seeds", "one look, 6 seeds")
    head += ("ever recommended in looks at 2, 3, 4, 6 seeds", "still at the last", "ever, each look at 5 %")
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    asked = [(noise, None) for noise in NOISES] + [(noise, target) for noise in NOISES[:2] for target in (0.3, 0.5)]
    with ProcessPoolExecutor(processes) as pool:
        for N in images:
            for line in pool.map(partial(grown_row, table, studies, N), asked):
                print(line, flush=True)


TRIALS = 8


def learned_scores(
    table: Table, truth_A: NDArray[np.float64], std_A: NDArray[np.float64], draw: np.random.Generator
) -> NDArray[np.float64]:
    """What the model expects of each placement, in points, after trainings of those that it asked for."""
    features = Features.of(table.placements, table.macs_ratio_A, table.default)
    observed = Observations.of()
    while len(observed) < TRIALS and (
        asked := next_placements(features, observed, 0.0, table.macs_ratio_A, ANSWER_AT, 1)
    ):
        index = asked[0].index
        shown = 100 * (truth_A[index] + std_A[index] * draw.standard_normal())
        observed = Observations.of([*observed.index_T, index], [*observed.points_T, shown])
    return posterior(features, observed).mean_A


def learned_row(table: Table, studies: int, asked: tuple[Noise, bool, int, int]) -> str:
    """A line of the table: no placement is better, or Table 6's gaps."""
    noise, gaps, images, seeds = asked
    truth_A = table.accuracy_A if gaps else np.full(len(table.placements), table.accuracy_A[table.default])
    trainer, found = Trainer(truth_A, table.std_A, noise), list[Study]()
    for i in range(studies):
        draw = rng.generator(i, f"learned/{noise.name}/{gaps}", images, seeds)
        score_A = learned_scores(table, truth_A, noise.times * table.std_A, draw)
        found.append(study(table, trainer, score_A, seeds, images, draw))
    gains = [result.gain for result in found if result.gain is not None]
    better = [result.moves for result in found if result.possible > 0]
    covered = [one for result in found for one in result.covered]
    cells = (
        noise.name, "Table 6" if gaps else "none is better", f"{images:,}", f"{seeds}", share(len(gains), studies),
        share(sum(better), len(better)) if better else "–",
        f"{100 * np.mean(gains):+.2f}" if gains else "–",
        f"{100 * np.mean([result.possible for result in found]):+.2f}",
        f"{np.mean(covered):.1%}" if covered else "–",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def learned(table: Table, studies: int, seeds: Sequence[int], images: Sequence[int], processes: int) -> None:
    head = ("chance comes from", "gaps", "images", "seeds", "a change is recommended", "where a pick is truly better")
    head += ("its true gain in points, mean", "the best pick's", "intervals that hold the truth")
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    with ProcessPoolExecutor(processes) as pool:
        for line in pool.map(partial(learned_row, table, studies), product(NOISES, (False, True), images, seeds)):
            print(line, flush=True)


def satterthwaite_p(a_SN: NDArray[np.float64], b_SN: NDArray[np.float64]) -> float:
    """The p value of the method before: crossed random effects of the two networks, Satterthwaite's freedom."""
    difference_SN = a_SN - b_SN
    seeds, images = difference_SN.shape
    mean, seed_S, image_N = difference_SN.mean(), difference_SN.mean(1), difference_SN.mean(0)
    by_seeds, by_images = seed_S.var(ddof=1) / seeds, image_N.var(ddof=1) / images
    rest_SN = difference_SN - seed_S[:, None] - image_N + mean
    by_both = (rest_SN**2).sum() / ((seeds - 1) * (images - 1)) / (seeds * images)
    variance = max(by_seeds + by_images - by_both, by_seeds, by_images)
    freedom = variance**2 / (by_seeds**2 / (seeds - 1) + by_images**2 / (images - 1))
    return float(2 * stats.t.sf(abs(mean) / math.sqrt(variance), max(freedom, seeds - 1)))


def interval(studies: int, seeds: Sequence[int], networks: int = 4, images: int = 200) -> None:
    """How often two equal networks of four differ at 5 %, on normal values, wherever the chance comes from."""
    head = ("seeds", "seeds' variance over images'", "the first scatters", "Satterthwaite (before)", "now")
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for n in seeds:
        for ratio in (0.1, 1.0, 10.0, 100.0):
            for times in (1, 3):
                before = now = 0
                for i in range(studies):
                    draw = rng.generator(i, f"interval/{ratio}/{times}", n)
                    scatter_K11 = np.array([times] + [1] * (networks - 1))[:, None, None] * math.sqrt(
                        ratio * n / images
                    )
                    luck_KS1 = scatter_K11 * draw.standard_normal((networks, n, 1))
                    value_KSN = luck_KS1 + draw.standard_normal((networks, 1, images))
                    a_SN, b_SN = value_KSN[:2]
                    before += satterthwaite_p(a_SN, b_SN) <= 0.05
                    now += paired_difference(a_SN, b_SN, spread=pooled_variance(value_KSN.mean(2))).p <= 0.05
                wide = "as the others" if times == 1 else f"{times} times as far"
                print(f"| {n} | {ratio:g} | {wide} | {share(before, studies)} | {share(now, studies)} |", flush=True)


@dataclass(frozen=True)
class Chance:
    """The variances of what decides whether a training gets an image right; they add up to 1."""

    shared: float  # of all networks, for the image
    placement: float  # of the placement, for the image: the same for all its seeds
    seed: float  # of the training, for all images
    both: float  # of the training, for the image


CHANCES = {
    "placements on single images": Chance(0.0, 1.0, 0.0, 0.0),
    "seeds on all images": Chance(0.65, 0.05, 0.2, 0.1),
    "seeds on single images": Chance(0.5, 0.02, 0.0, 0.48),
    "all of these": Chance(0.4, 0.3, 0.1, 0.2),
}
RIGHT, MORE = 0.7, 0.2
"""Of the images of every class; of a network that is better, in all classes or in the rarest."""


@dataclass(frozen=True)
class Design:
    """Test images of each class, the rarest last."""

    name: str
    size_K: tuple[int, ...]

    def right_K(self, better: str) -> NDArray[np.float64]:
        """Which part of each class a network gets right that is better in no class, in all, or in the rarest."""
        last_K = np.arange(len(self.size_K)) == len(self.size_K) - 1
        return RIGHT + MORE * {"no": 0 * last_K, "all": 0 * last_K + 1, "rarest": 1 * last_K}[better]

    def truth(self, metric: Metric, right_K: NDArray[np.float64]) -> float:
        """The metric over endless images of these shares of the classes; wrong ones are taken for any other class."""
        size_K = np.array(self.size_K)
        wrong_K = size_K * (1 - right_K)
        if metric == "accuracy":
            return float(1 - wrong_K.sum() / size_K.sum())
        if metric == "balanced-accuracy":
            return float(right_K.mean())
        taken_K = (wrong_K.sum() - wrong_K) / (len(size_K) - 1)
        return float((2 * size_K * right_K / (size_K + size_K * right_K + taken_K)).mean())


def designs(images: int) -> list[Design]:
    equal = [Design(f"{K} of {images // K}", (images // K,) * K) for K in (2, 10)]
    rare = [
        Design(f"{K}, the rarest of {r}", ((images - r) // (K - 1),) * (K - 1) + (r,))
        for K, few in ((2, (1, 2, 4, 5, 10)), (5, (2, 5)))
        for r in few
        if r * K <= images // 2
    ]
    return equal + rare


def small_study(design: Design, metric: Metric, chance: Chance, seeds: int, draw: np.random.Generator) -> list[bool]:
    """Whether three of four equal networks are called better than the last, then whether intervals hold the truth: of
    one of these, of a network better in all classes, and of one better in the rarest."""
    true_N = np.repeat(np.arange(len(design.size_K)), design.size_K)
    difficulty_N = math.sqrt(chance.shared) * draw.standard_normal(len(true_N))
    wrong_N = (true_N + draw.integers(1, len(design.size_K), len(true_N))) % len(design.size_K)
    found, truths = [], []
    for better in ("no", "no", "no", "no", "all", "rarest"):
        right_K = design.right_K(better)
        of_seed_S1 = math.sqrt(chance.seed) * draw.standard_normal((seeds, 1))
        of_image_N = difficulty_N + math.sqrt(chance.placement) * draw.standard_normal(len(true_N))
        hard_SN = of_image_N + of_seed_S1 + math.sqrt(chance.both) * draw.standard_normal((seeds, len(true_N)))
        predicted_SN = np.where(hard_SN < special.ndtri(right_K)[true_N], true_N, wrong_N)
        found.append(contributions(metric, true_N, predicted_SN, len(right_K), about="class"))
        truths.append(design.truth(metric, right_K))
    spread = pooled_variance([value_SN.mean(1) for value_SN in found])
    class_N = None if metric == "accuracy" else true_N
    gaps = [paired_difference(found[k], found[3], spread=spread, class_N=class_N) for k in (0, 1, 2, 4, 5)]
    called = [p <= 0.05 and gap.mean > 0 for p, gap in zip(holm([gap.p for gap in gaps[:3]]), gaps, strict=False)]
    held = [gaps[k].low <= truths[n] - truths[3] <= gaps[k].high for k, n in ((0, 0), (3, 4), (4, 5))]
    return [any(called), *held]


def small_row(studies: int, seeds: Sequence[int], asked: tuple[Metric, int, Design]) -> str:
    """A line of the table: what holds on the whole, where chance is worst, and with which number of seeds."""
    metric, images, design = asked
    found = []
    for (name, chance), n in product(CHANCES.items(), seeds):
        draws = [rng.generator(i, f"rare/{metric}/{design.name}/{name}", images, n) for i in range(studies)]
        found.append(np.mean([small_study(design, metric, chance, n, draw) for draw in draws], axis=0))
    found_CS4 = np.array(found).reshape(len(CHANCES), len(seeds), 4)
    called_CS, held_CS = found_CS4[..., 0], found_CS4[..., 1:].mean(-1)
    called = (called_CS.mean(), called_CS.mean(1).max(), called_CS.mean(0).max())
    held = (held_CS.mean(), held_CS.mean(1).min(), held_CS.mean(0).min())
    told = [", ".join(f"{part:.1%}" for part in parts) for parts in (called, held)]
    if metric != "accuracy" and min(design.size_K) < FEW_IMAGES:
        told[0] = f"refused ({told[0]})"
    return f"| {metric_name(metric)} | {images:,} | {design.name} | {' | '.join(told)} |"


def rare(studies: int, seeds: Sequence[int], images: Sequence[int], processes: int) -> None:
    head = ("metric", "images", "classes", "a change is recommended", "intervals that hold the truth")
    print(f"\n| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    asked = [
        (metric, N, design)
        for metric, N in product(METRICS["classification"], images)
        for design in (designs(N)[:1] if metric == "accuracy" else designs(N))
    ]
    with ProcessPoolExecutor(processes) as pool:
        for line in pool.map(partial(small_row, studies, seeds), asked):
            print(line, flush=True)


KINDS = ("null", "power", "interval", "grown", "learned", "rare")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table6", type=Path, nargs="?", help="not needed for --only rare")
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 5])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 300])
    parser.add_argument("--only", nargs="+", choices=KINDS, default=["null", "power"])
    parser.add_argument("--processes", type=int, default=2, help="of --only rare, grown and learned")
    asked = parser.parse_args()
    if "rare" in asked.only:
        rare(asked.studies, asked.seeds, asked.images, asked.processes)
    if set(asked.only) == {"rare"}:
        return
    if asked.table6 is None:
        parser.error("give the CSV file of Table 6, or --only rare")
    table = read_table(asked.table6)
    if "interval" in asked.only:
        interval(asked.studies, asked.seeds)
    if "null" in asked.only:
        null(table, asked.studies, asked.seeds, asked.images)
    if "power" in asked.only:
        power(table, asked.studies, asked.seeds, asked.images, NOISES[:2])
    if "grown" in asked.only:
        grown(table, asked.studies, asked.images, asked.processes)
    if "learned" in asked.only:
        learned(table, asked.studies, asked.seeds, asked.images, asked.processes)


if __name__ == "__main__":
    main()
