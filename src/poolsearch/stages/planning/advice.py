"""Which way is advised: a rule of thumb, as a pure function of what each would cost."""

from __future__ import annotations

from collections.abc import Sequence

from poolsearch.inspection_results import MethodEstimate, duration_text

WORTH = 1.5
"""A sweep is preferred while the job takes no more than so many times as long as that of 'poolsearch run' by itself."""

PREFERRED = ("sweep", "mixture")
"""A sweep trains every placement as it will be used, so that nothing is to be learned; else what 'poolsearch run' does
by itself. The other ways are there to compare with."""

_WHY = {
    "sweep": "it trains every placement by itself, so that nothing stands between them and the comparison",
    "mixture": "it is what 'poolsearch run' does by itself",
}


def advise(ways: Sequence[MethodEstimate], after: float, members: int) -> tuple[str, str]:
    """The method, and why, in a sentence.

    The first of :data:`PREFERRED` whose whole job takes no more than 1.5 times as long as that with the mixture.

    Args:
        ways: with the mixture of ``members`` among them.
        after: seconds of what comes after the ranking.
        members: M, as set; other mixtures are not advised.

    Returns:
        The method as in ``--method``, and a sentence with the times that speak for it.
    """
    job = {
        w.method: w.takes.seconds + after
        for w in ways
        if w.method in PREFERRED and (w.method != "mixture" or w.members == members)
    }
    method = next(m for m in PREFERRED if job.get(m, float("inf")) <= WORTH * job["mixture"])
    dearer = [name for name in PREFERRED[: PREFERRED.index(method)] if name in job]
    rest = f"; {' and '.join(f'{n} with {duration_text(job[n])}' for n in dearer)} would not" if dearer else ""
    return method, (
        f"with {duration_text(job[method])} for the whole job it fits into {WORTH:g} times the job with the mixture"
        f"{rest}; {_WHY[method]} (a rule of thumb)"
    )
