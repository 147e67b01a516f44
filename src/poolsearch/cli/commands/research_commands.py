"""Commands that compare methods. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from poolsearch.settings.groups import Auto


@dataclass(frozen=True)
class Bench:
    """Compare samplers on a table of ground truth: nothing is trained, and 1,000 seeds take seconds.

      poolsearch bench
      poolsearch bench --methods each-once bse:score-init=first mcts:ucb-c=0.05 mine.py:make_sampler
      poolsearch bench runs/sweep --draws 200

    To ask for a placement gives one training of it: its mean in the table, and noise with its own standard deviation.
    Told is how far the placement of the best mean reward so far is below the best of the table (simple regret), after
    every number of trainings; and what was asked for in the second half. Left in the folder are regret.csv,
    report.html and figures/.
    """

    table: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="[TABLE]")]] = "table6"
    """table6: the paper's, 36 placements of ResNet20 on CIFAR-10. Or the folder of a finished sweep."""
    methods: tuple[str, ...] = ("random", "each-once", "bse", "bse:warm-up=0.5", "mcts", "mcts:warm-up=0.5")
    """Samplers, as NAME[:setting=value]... with settings of 'poolsearch run'. random: every draw uniform. each-once: in
    a random order. bse (beta, score-init, schedule, inv-temp-end, warm-up), mcts (ucb-c, ucb-pick, ucb-reward,
    ucb-prior, ucb-warm-up, beta, warm-up), or FILE.py:FACTORY for one of yours."""
    seeds: int = 1000
    """How often each sampler plays."""
    draws: int = 100
    """Trainings in one play."""
    noise: Auto[float] = None
    """Standard deviation of a training, as a fraction, of all placements. Default: each one's own in the table."""
    score_images: Auto[int] = None
    """Rewards are the part of so many random images that are right, as the score of a minibatch. Default: not."""
    rise: float = 0.0
    """How much lower, as a fraction, all rewards begin; they rise to the table's in a straight line, as the scores of
    all placements do while a supernet learns. What would be taken is told without it."""
    seed: int = 0
    """Of all draws and noise."""
    out: Auto[Path] = None
    """Folder of the page. Default: runs/bench-TABLE; an older page in it is replaced."""
    quiet: bool = False
    """No progress, only the result."""
