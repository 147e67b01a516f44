"""(d) The mixture's own work in a step, and balancing against POT's Sinkhorn at equal tolerance."""

from __future__ import annotations

import numpy as np
import ot

from poolsearch.mixture.balance import balance
from poolsearch.mixture.mixture import Mixture, MixtureRules
from timing import alternate, each, ratio

SIZES = ((36, 4), (560, 8), (19_683, 8), (1_000_000, 8))


def step_work(placements: int, members: int, steps: int) -> str:
    """Median milliseconds of prepare, draw and both records, late in a search with scores that differ."""
    draw = np.random.default_rng(0)
    mixture = Mixture(placements, MixtureRules(members=members, inv_temp_end=100.0 * members))
    mixture.score_AM[:] = draw.uniform(0.5, 0.6, mixture.score_AM.shape)
    mixture.prepare(0, 0.9, True)

    def one() -> None:
        for step in range(steps):
            mixture.prepare(step, 0.9, False)
            number = int(draw.integers(placements))
            member = mixture.member(number, float(draw.random()))
            mixture.trained(number, member)
            mixture.scored(number, member, 0.55, step)

    return each(alternate({f"{placements:,} x {members}": one}, 5), steps)


def against_pot(placements: int, members: int, inverse_temperature: float, lagging: float) -> str:
    """Ours against POT's log-domain Sinkhorn, from nothing, at a marginal error of about 1e-3 for both."""
    draw = np.random.default_rng(0)
    score_AM = draw.uniform(0.5, 0.6, (placements, members))
    score_AM[: int(placements * lagging), 0] -= 0.3
    a, b = np.full(placements, 1 / placements), np.full(members, 1 / members)

    def theirs() -> None:
        ot.sinkhorn(
            a,
            b,
            -score_AM,
            1 / inverse_temperature,
            method="sinkhorn_log",
            numItermax=100_000,
            stopThr=1e-3,
            warn=False,
        )

    seconds = alternate({"POT": theirs, "ours": lambda: balance(score_AM * inverse_temperature, tolerance=1e-6)}, 3)
    where = f"{placements:,} x {members}, 1/temperature {inverse_temperature:g}, one member lagging on {lagging:.0%}"
    return f"{where}: POT / ours {ratio(seconds, 'POT', 'ours')}; {each(seconds, 1)}"


def main(largest: int = 1_000_000) -> list[str]:
    """Lines for the report; sizes above ``largest`` are left out."""
    work = [step_work(a, m, 100 if a < 1000 else 2) for a, m in SIZES if a <= largest]
    cases = [(a, m, t, share) for a, m in SIZES[:2] if a <= largest for t in (400, 2000) for share in (0.0, 0.95)]
    return ["a step: " + "; ".join(work), *(against_pot(*case) for case in cases)]


if __name__ == "__main__":
    print("\n".join(main()))
