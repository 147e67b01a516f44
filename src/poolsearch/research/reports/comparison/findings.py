"""What the comparison says, in one sentence: who is better than the default, and than MACs alone, beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolsearch.evaluation.stats import holm
from poolsearch.research.reports.comparison.values import CaseResult, Comparison, RivalDifference

ALPHA = 0.05
MACS = "MACs alone"


@dataclass(frozen=True)
class RivalVerdict:
    """The cases against one rival, by p values that are adjusted for there being several cases.

    Attributes:
        rival: in words.
        total: cases whose difference is known with an interval.
        better, worse: those of which chance does not explain the difference.
        alone: those that are better by their own interval, and no longer when adjusted.
    """

    rival: str
    total: int
    better: Sequence[tuple[CaseResult, RivalDifference]]
    worse: Sequence[tuple[CaseResult, RivalDifference]]
    alone: Sequence[tuple[CaseResult, RivalDifference]]


def judge_cases(data: Comparison, rival: str) -> RivalVerdict:
    """Judge all cases against ``default`` or ``macs``; the adjustment is Holm's."""
    words = {"default": f"the default {data.default}", "macs": MACS}[rival]
    known = [(case, case.against[rival]) for case in data.cases if rival in case.against]
    adjusted = holm([entry.p for _, entry in known])
    sure = [pair for pair, p in zip(known, adjusted, strict=True) if p <= ALPHA]
    unsure = [pair for pair, p in zip(known, adjusted, strict=True) if p > ALPHA]
    return RivalVerdict(
        words,
        len(known),
        better=[pair for pair in sure if pair[1].mean > 0],
        worse=[pair for pair in sure if pair[1].mean < 0],
        alone=[pair for pair in unsure if pair[1].low > 0],
    )


def finding_sentence(data: Comparison) -> str:
    """The finding, against the default and against MACs alone."""
    default, macs = judge_cases(data, "default"), judge_cases(data, "macs")
    if not default.total and not macs.total:
        return "Nothing can be said yet about which method is better: no difference is known with its interval."
    if default.total == macs.total and not default.better and not macs.better:
        return f"{_none_of(default.total)} better than {default.rival} or than {MACS}, beyond chance."
    return " ".join([_beyond_chance(default), _beyond_chance(macs)])


def detail_sentence(data: Comparison) -> str:
    """How it was judged, and what a less careful look would have said."""
    both = judge_cases(data, "default"), judge_cases(data, "macs")
    texts = [_truth_used(data)]
    if any(entry.total for entry in both):
        texts.append("A method counts as better when its p value, adjusted for the number of methods, is at most 0.05.")
    texts += [f"Worse than {e.rival} beyond chance: {_listed(e.worse)}." for e in both if e.worse]
    texts += [
        f"Better than {entry.rival} only when looked at alone, without that adjustment: {_listed(entry.alone)}."
        for entry in both
        if entry.alone
    ]
    return " ".join(texts)


def _truth_used(data: Comparison) -> str:
    """On which images the truth was measured, and that this is for research."""
    if data.truth.part == "test":
        return (
            "For research: the ground truth was read from test images, for more placements than one, so that nothing "
            "here is a verdict about which network to use."
        )
    return "The ground truth is of the search-val half, which the methods also ranked by."


def _beyond_chance(found: RivalVerdict) -> str:
    if not found.total:
        return f"How the methods compare with {found.rival} is not known."
    if not found.better:
        return f"{_none_of(found.total)} better than {found.rival} beyond chance."
    return f"Better than {found.rival} beyond chance: {_listed(found.better)}."


def _none_of(total: int) -> str:
    return "The one method is not" if total == 1 else f"None of the {total} methods is"


def _listed(pairs: Sequence[tuple[CaseResult, RivalDifference]]) -> str:
    return ", ".join(f"{case.label} ({100 * entry.mean:+.2f} points)" for case, entry in pairs)
