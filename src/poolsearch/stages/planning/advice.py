"""Which way is advised: a rule of thumb, as a pure function of what each would cost."""

from __future__ import annotations

from collections.abc import Sequence

from poolsearch.inspection_results import MethodEstimate, duration_text

WORTH = 1.5
"""A sweep is preferred while the job takes no more than so many times as long as that of 'poolsearch run' by itself."""


def advise(ways: Sequence[MethodEstimate], after: float, usual: str, members: int) -> tuple[str, str]:
    """The method, and why, in a sentence.

    A sweep, which trains every placement as it will be used, so that nothing has to be learned about it, where its
    whole job takes no more than 1.5 times as long as what ``poolsearch run`` does by itself; else the latter. The other
    ways are there to compare with.

    Args:
        ways: with a sweep and the usual method among them.
        after: seconds of what comes after the ranking.
        usual: the method of ``poolsearch run`` with these settings.
        members: M, as set; other mixtures are not advised.

    Returns:
        The method as in ``--method``, and a sentence with the times that speak for it.
    """
    job = {w.method: w.takes.seconds + after for w in ways if w.method != "mixture" or w.members == members}
    limit = f"{WORTH:g} times the job that 'poolsearch run' does by itself"
    if job["sweep"] <= WORTH * job[usual]:
        return "sweep", (
            f"with {duration_text(job['sweep'])} for the whole job it fits into {limit}; it trains every placement by "
            "itself, so that nothing stands between them and the comparison (a rule of thumb)"
        )
    return usual, (
        f"it is what 'poolsearch run' does by itself, with {duration_text(job[usual])} for the whole job; a sweep with "
        f"{duration_text(job['sweep'])} does not fit into {limit} (a rule of thumb)"
    )
