"""What the finished run says about the network: its answers on the test images, and one sentence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poolsearch import rng
from poolsearch.evaluation.looks import ERROR, FIRST, Look
from poolsearch.evaluation.stats import (
    Difference,
    HalfWidth,
    Ints,
    PooledVariance,
    Values,
    holm,
    paired_difference,
    pooled_variance,
    probability_above,
)
from poolsearch.settings.groups import Control
from poolsearch.settings.tasks import CLASSES_ALIKE

FEW_IMAGES = 5
"""With fewer test images of a class, nothing is recommended by a metric that counts every class alike."""

WORTH_SEEING = 0.01
"""A gain that a run should be able to show."""


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network that was trained, and what its trainings reached on the test images.

    Attributes:
        name: its placement, for people.
        macs_ratio: MACs against the default's.
        value_SN: what test image n adds to the metric of seed s, as in
            :func:`~poolsearch.evaluation.stats.paired_difference`.
        diverged: a training ended with a loss that is no finite number.
        failed: what shows that its training failed, after its name; empty where nothing does.
    """

    name: str
    macs_ratio: float
    value_SN: Values
    diverged: bool = False
    failed: str = ""

    @property
    def mean(self) -> float:
        """Over seeds, of the metric."""
        return float(self.value_SN.mean())


@dataclass(frozen=True)
class RareClass:
    """A class with too few test images for a metric that counts every class alike."""

    name: str
    images: int


def rarest_class(class_N: Ints | None, names: Sequence[str]) -> RareClass | None:
    """The class with the fewest test images, where these are too few (:data:`FEW_IMAGES`).

    Args:
        class_N: class number of each test image, where the metric counts every class alike; None: images count alike.
        names: of the classes, in the order of their numbers.

    Returns:
        That class; None where it has enough images, or ``class_N`` is None. Classes without test images do not count.
    """
    if class_N is None:
        return None
    size_K = np.bincount(class_N)
    present = np.flatnonzero(size_K)
    least = int(present[size_K[present].argmin()])
    return RareClass(names[least], int(size_K[least])) if size_K[least] < FEW_IMAGES else None


@dataclass(frozen=True)
class PairComparison:
    """One network against another: the difference, and the bootstrap probability that it is above zero."""

    against: str
    difference: Difference
    probability: float


@dataclass(frozen=True)
class JudgedPick:
    """An answer on the test images.

    Attributes:
        limit: see :class:`~poolsearch.evaluation.budget_picks.Answer`.
        pick: what was chosen for it.
        default: the pick against the default at its own MACs; None where they are the same, or there is one seed.
        equal_macs: the pick against what the default is worth at the pick's MACs, where that is known.
        adjusted_p: the p value of the difference from the default, for as many picks as are tested.
        rare: a class of so few test images that no difference is believed.
        look: at which look at the test split it was tested.
        least: half the interval of the difference at the level of the look; None: at 95 %, as that of ``default``.
    """

    limit: float | None
    pick: TrainedNetwork
    default: PairComparison | None
    equal_macs: PairComparison | None
    adjusted_p: float | None
    rare: RareClass | None = None
    look: Look = FIRST
    least: HalfWidth | None = None

    @property
    def better(self) -> bool:
        """Whether the test says that the pick beats the default: at the level of this look, or at that of an earlier
        one, as long as all that is known by now still shows it at 5 %."""
        return self.ahead_at(self.look.level) or (self.was_better and self.ahead_at(ERROR))

    @property
    def was_better(self) -> bool:
        """Whether an earlier look said so."""
        return self.pick.name in self.look.better_before

    @property
    def worse(self) -> bool:
        """Whether the test says that the default beats the pick."""
        return self._differs(self.look.level) and self.default is not None and self.default.difference.mean < 0

    def ahead_at(self, level: float) -> bool:
        """Whether a test at this level would say that the pick beats the default.

        Args:
            level: two-sided, of the p value adjusted for the picks.

        Returns:
            False also where nothing is believed, or nothing was compared.
        """
        return self._differs(level) and self.default is not None and self.default.difference.mean > 0

    def _differs(self, level: float) -> bool:
        return self.rare is None and self.adjusted_p is not None and self.adjusted_p <= level


def pooled_variance_of(trained: Sequence[TrainedNetwork]) -> PooledVariance | None:
    """How far trainings differ by chance, learnt from all networks that were trained with the same seeds.

    Args:
        trained: all of them; those that diverged or failed are left out.

    Returns:
        Their pooled variance; None where it is not known, as there is one seed, or fewer than two networks have learnt.
    """
    learnt = [network for network in trained if not (network.diverged or network.failed)]
    means = {network.name: network.value_SN.mean(1) for network in learnt}
    return pooled_variance(list(means.values())) if len(means) > 1 and len(trained[0].value_SN) > 1 else None


def compare_networks(
    a: TrainedNetwork, b: TrainedNetwork, spread: PooledVariance | None, seed: int, class_N: Ints | None = None
) -> PairComparison | None:
    """One network against another on the test images.

    Args:
        a, b: trained with the same seeds, tested on the same images.
        spread: see :func:`pooled_variance_of`; None: that of the two alone.
        seed: of the bootstrap, which also depends on the two names.
        class_N: class number of each test image, where the metric counts every class alike; None: images count alike.

    Returns:
        The difference ``a - b``; None with a single seed, which shows no difference.
    """
    if len(a.value_SN) < 2:
        return None
    draw = rng.generator(seed, f"bootstrap/{a.name}/{b.name}")
    return PairComparison(
        b.name,
        paired_difference(a.value_SN, b.value_SN, spread=spread, class_N=class_N),
        probability_above(a.value_SN, b.value_SN, draw, spread, class_N=class_N),
    )


def judge_picks(
    picks: Sequence[tuple[float | None, TrainedNetwork]],
    default: TrainedNetwork,
    spread: PooledVariance | None,
    seed: int,
    larger: TrainedNetwork | None = None,
    class_N: Ints | None = None,
    rare: RareClass | None = None,
    look: Look = FIRST,
) -> list[JudgedPick]:
    """Every answer on the test images.

    Each pick that is not the default is tested against it; p values are adjusted for as many as there are (Holm). The
    picks were fixed from validation, and nothing else is tested. Picks of a ranking that was made after an earlier look
    may have been chosen by what it showed: then p values are adjusted as if all networks seen by then were tested.

    Args:
        picks: limit and pick of each answer, the one without a limit, whose pick is the winner, last.
        default: the network's own placement.
        spread: see :func:`pooled_variance_of`; None: that of each pair alone.
        seed: of the bootstrap.
        larger: the default on images so large that it has the winner's MACs; None where that was not trained.
        class_N: the class of each image, where the metric counts every class alike; None: images count alike.
        rare: see :func:`rarest_class`.
        look: which look at the test split it is, and what earlier ones showed.

    Returns:
        One for each of ``picks``, in their order; picks that are the default have no comparison.
    """
    against = {
        pick.name: compare_networks(pick, default, spread, seed, class_N)
        for _, pick in picks
        if pick.name != default.name
    }
    tested = {name: found for name, found in against.items() if found is not None}
    p_values = [found.difference.p for found in tested.values()]
    adjusted = dict(zip(tested, holm([*p_values, *[1.0] * look.seen]), strict=False))
    judged: list[JudgedPick] = []
    for limit, pick in picks:
        equal = against.get(pick.name) if pick.macs_ratio <= 1 else None
        if larger is not None and pick.name == picks[-1][1].name and pick.macs_ratio > 1:
            equal = compare_networks(pick, larger, spread, seed, class_N)
        least = None
        if look.number > 1 and pick.name in tested:
            least = paired_difference(pick.value_SN, default.value_SN, 1 - look.level, spread, class_N).half
        known = against.get(pick.name), equal, adjusted.get(pick.name)
        judged.append(JudgedPick(limit, pick, *known, rare, look, least))
    return judged


def recommended_pick(judged: Sequence[JudgedPick]) -> JudgedPick | None:
    """The answer that a change is recommended to: of those that beat the default, the one with the fewest MACs.

    It asks least of the reader: who can pay more finds the others beside it.

    Args:
        judged: the answers, as :func:`judge_picks` gives them.

    Returns:
        That answer; None where none beats the default.
    """
    return min((answer for answer in judged if answer.better), key=lambda a: a.pick.macs_ratio, default=None)


def verdict(
    judged: Sequence[JudgedPick],
    default: TrainedNetwork,
    metric: str = "accuracy",
    ranked: str = "on the validation images",
) -> str:
    """The sentence of the run.

    Args:
        judged: the answers, as :func:`judge_picks` gives them; the last is the winner's.
        default: the network's own placement.
        metric: what was measured on the test images, in words.
        ranked: by what the first was the first, in words.

    Returns:
        The sentence, with what belongs to it: differences in points with their 95 % interval, and what else is needed.
    """
    picks = {answer.pick.name: answer for answer in judged}  # of answers with one pick the last, which allows most
    networks = [*(answer.pick for name, answer in picks.items() if name != default.name), default]
    if lost := [network for network in networks if network.diverged or network.failed]:
        return _failed(lost, judged[-1].pick.name, ranked)
    others = {name: answer for name, answer in picks.items() if name != default.name}
    if not others:
        return f"There is no evidence to change your network: its own placement {default.name} came out first {ranked}."
    first = judged[-1] if judged[-1].pick.name in others else next(iter(others.values()))
    if first.default is None:
        return (
            f"No verdict: {first.pick.name} came out first {ranked}, but one seed cannot tell it from the "
            f"default {default.name} on test. Train more: poolsearch retrain --retrain-seeds 3."
        )
    return _tested(list(others.values()), first, default, metric, ranked)


def _failed(lost: Sequence[TrainedNetwork], winner: str, ranked: str) -> str:
    """That there is no verdict without trained networks, what shows it, and what to change."""
    found = "; ".join(f"{network.name} {network.failed or 'diverged'}" for network in lost)
    diverged = any(network.diverged for network in lost)
    advice = "a lower --retrain-lr" if diverged else "more --retrain-epochs, or another --retrain-lr,"
    return f"No verdict on {winner}, first {ranked}, as training failed: {found}. Use {advice} in a new run."


def _tested(others: Sequence[JudgedPick], first: JudgedPick, default: TrainedNetwork, metric: str, ranked: str) -> str:
    """The sentence where something was tested: ``others`` has every pick but the default once."""

    def told(answer: JudgedPick, verb: str) -> str:
        assert answer.default is not None
        found = answer.default.difference
        within = "" if answer.limit is None else f" within {answer.limit:g} times the default's MACs"
        adjusted = f", p = {answer.adjusted_p:.2g}" if len(others) > 1 or answer.look != FIRST else ""
        adjusted += f" adjusted for {len(others)} answers" if len(others) > 1 else ""
        adjusted += f" and {answer.look.seen} networks seen before" if answer.look.seen else ""
        return (
            f"{answer.pick.name}, first {ranked}{within}{verb} {found.mean * 100:+.2f} points of test "
            f"{metric} against the default {default.name}, at {answer.pick.macs_ratio:.2f} times its MACs "
            f"(95% interval {found.low * 100:+.2f} to {found.high * 100:+.2f}, {found.seeds} seeds{adjusted})."
        )

    if rare := first.rare:
        only = f"{rare.images} image{'' if rare.images == 1 else 's'}"
        return (
            f"No change is recommended: {metric} counts every class alike, and of class '{rare.name}' the test split "
            f"has only {only}, on which too much depends. Add images of it, so that {FEW_IMAGES} or more are tested, "
            f"or use --metric accuracy, in a new run. {told(first, ' has')}"
        )
    alone = _OF_TRAININGS if default.value_SN.shape[1] == 1 else ""
    if chosen := recommended_pick(others):
        also = [f"{answer.pick.name}, {_gap(answer)}" for answer in others if answer.better and answer is not chosen]
        more = f" Also better, for more MACs: {'; '.join(also)}." if also else ""
        return f"Move the downsampling to {told(chosen, ':')}{more}{alone}"
    if first.worse:
        return f"Keep the default, there is no evidence to change your network: {told(first, ', has')}{alone}"
    rest = f" Nor is any other of the {len(others)} answers better." if len(others) > 1 else ""
    rest += _looked_before(others)
    said = f"There is no evidence to change your network: {told(first, ', has')}{rest}{_too_small(first, metric)}"
    return said + alone


_OF_TRAININGS = (
    " The metric is no mean over images: the interval knows the chance of the trainings alone, not which images the "
    "test split happens to have."
)


def _looked_before(others: Sequence[JudgedPick]) -> str:
    """What would be recommended if earlier looks did not count, or was, and is not."""
    look, text = others[0].look, ""
    for answer in others:
        if answer.ahead_at(ERROR):
            text += (
                f" The p value of {answer.pick.name} is {answer.adjusted_p:.2g}, and look {look.number} at the test "
                f"split is tested at {look.level:.3g}."
            )
        elif answer.was_better:
            text += f" An earlier look found {answer.pick.name} better; all trainings together no longer show it."
    return text


def _too_small(answer: JudgedPick, metric: str) -> str:
    """Which gain could not have been shown, and what it takes to show one."""
    assert answer.default is not None
    found = answer.default.difference
    if found.half is None:
        return ""
    half = answer.least or found.half
    text = f" This run could not have shown a gain of less than {half.whole * 100:.2f} points."
    gain = max(found.mean, WORTH_SEEING)
    if half.whole <= gain:
        return text
    images, seeds = half.needed(gain, found.seeds, 1 - answer.look.level)
    takes = [f"{_round(images):,} test images (there were {half.images:,})"] if images > half.images else []
    takes += [f"{seeds} seeds (--retrain-seeds; there were {found.seeds})"] if seeds > found.seeds else []
    above = ", most of all of the small classes" if metric in CLASSES_ALIKE and images > half.images else ""
    return f"{text} One of {gain * 100:.2f} points takes about {' and '.join(takes)}{above}."


def _round(count: int) -> int:
    """To two figures."""
    return round(count, 2 - len(str(count)))


def _gap(answer: JudgedPick) -> str:
    assert answer.default is not None
    return f"{answer.default.difference.mean * 100:+.2f} points at {answer.pick.macs_ratio:.2f} times"


def control_note(
    control: Control,
    winner: TrainedNetwork,
    rival: TrainedNetwork | None,
    compared: PairComparison | None,
    why_not: str | None = None,
) -> str:
    """What a control says of the winner.

    Args:
        control: which it is.
        winner: the first of the ranking.
        rival: what was trained for it; None where nothing was, for the reason ``why_not``.
        compared: the winner against it; None where they are the same, or cannot be compared.
        why_not: a clause that goes on after "nothing was trained, as"; None where something was trained.

    Returns:
        A sentence or two, with a full stop at the end.
    """
    if rival is None:
        return f"Control {control}: nothing was trained, as {why_not}."
    if rival.name == winner.name:
        return f"MACs alone would choose the winner {winner.name}, too."
    chosen = {
        "macs": f"MACs alone would choose {rival.name}",
        "random": "Chance would choose any placement (another for each seed)",
        "input-size": f"The MACs could go into larger images instead ({rival.name})",
    }[control]
    if rival.diverged or rival.failed:
        return f"{chosen}. Its training failed: it {rival.failed or 'diverged'}; so nothing is compared."
    reached = f"{chosen}: {rival.mean:.2%} on test at {rival.macs_ratio:.2f} times the default's MACs"
    if compared is None:
        return f"{reached}."
    found = compared.difference
    interval = f"95% interval {found.low * 100:+.2f} to {found.high * 100:+.2f}"
    doubt = "" if found.low > 0 else "; no evidence that the winner is better" if found.high >= 0 else "; it is better"
    return (
        f"{reached}. Against it the winner {winner.name}, at {winner.macs_ratio:.2f} times, has "
        f"{found.mean * 100:+.2f} points ({interval}){doubt}."
    )
