"""Timing what a run does: steps of the search, passes in evaluation, the mixture's own work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.mixture.mixture import Mixture
from poolsearch.session.run import Run
from poolsearch.space import Placement
from poolsearch.stages.search import SearchTraining, mixture_rules
from poolsearch.supernet.single_path import SinglePath
from poolsearch.train import checkpoint
from poolsearch.train.machine import Machine
from poolsearch.train.step import Forward, predict, tree_scores

Floats = NDArray[np.float64]

_MOST_ROUNDS, _LEAST_ROUNDS = 40, 2


def rounds_of(work: Sequence[Callable[[], Any]], seconds: float, machine: Machine) -> Floats:
    """Seconds of each piece of work in each round: two rounds, or more until ``seconds`` are spent.

    A round before them is not counted: in it kernels are built and memory is taken. Where it takes more than half of
    the ``seconds``, these hardly count, and it is the only one. Each has an order of its own, as placements that are
    drawn have.

    Args:
        work: functions to time.
        seconds: after which no round is begun any more; that is so after 40 rounds, too.
        machine: waited for after each piece of work.

    Returns:
        Shape (R, N): R rounds of N pieces, in the order given.
    """
    found: list[Floats] = []
    ends, draw = time.perf_counter() + seconds, np.random.default_rng(0)
    while len(found) <= _LEAST_ROUNDS or (time.perf_counter() < ends and len(found) <= _MOST_ROUNDS):
        if len(found) == 1 and found[0].sum() > seconds / 2:
            return np.array(found)
        taken_N = np.zeros(len(work))
        for i in draw.permutation(len(work)):
            begun = time.perf_counter()
            work[i]()
            machine.wait()
            taken_N[i] = time.perf_counter() - begun
        found.append(taken_N)
    return np.array(found[1:])


class _ScriptedSampler:
    """A sampler that gives what it was told to."""

    def __init__(self, first: Placement) -> None:
        self.next = first

    def ask(self) -> Placement:
        return self.next

    def tell(self, placement: Placement, reward: float) -> None:
        pass

    def state(self) -> Any:
        return None

    def load_state(self, state: Any) -> None:
        pass


class SearchSteps:
    """The search's own steps, of placements of one's choice; nothing that they learn is kept.

    With several placements a step, a mixture draws them itself.

    Args:
        run: open, with a method of supernets.
    """

    def __init__(self, run: Run) -> None:
        # scoring is timed by itself
        self._run = replace(run, settings=run.settings.changed(val_every=10**9, refresh=0, epochs=10**6))
        settings = self._run.settings.search
        self._told = _ScriptedSampler(run.space.default)
        self._training = SearchTraining(self._run, self._told if settings.placements_per_step == 1 else None)
        self._val = run.loader(run.split.search_val, settings.val_batch, "search-val", run.seed, augmented=False)
        self._step = 0  # the step of this number would score

    def train(self, group: Sequence[Placement]) -> None:
        """A step that trains and does not score.

        Args:
            group: the first is trained; with several placements a step none of them counts.
        """
        self._step += 1
        self._told.next = group[0]
        self._training.step(self._step)

    def score(self, group: Sequence[Placement]) -> None:
        """Score these placements of a member on a minibatch, and wait for it.

        Args:
            group: run as one tree.
        """
        machine, supernet = self._run.machine, self._training.members[0].eval()
        found = tree_scores(self._run.task, supernet, *self._val.batch(self._step), group, machine)
        for read in [machine.send(score) for _, score in found]:
            read()

    def times(self, groups: Sequence[Sequence[Placement]], seconds: float) -> tuple[Floats, Floats]:
        """Seconds of a step of each group and of scoring it.

        Args:
            groups: placements, as for :meth:`train` and :meth:`score`.
            seconds: after which no round is begun any more.

        Returns:
            Training and scoring, each of shape (R, groups) for R rounds.
        """
        both = [partial(self.train, group) for group in groups] + [partial(self.score, group) for group in groups]
        found_RN = rounds_of(both, seconds, self._run.machine)
        return found_RN[:, : len(groups)], found_RN[:, len(groups) :]

    def save(self) -> float:
        """Write a checkpoint in the run's folder.

        Returns:
            Seconds that it took.
        """
        begun = time.perf_counter()
        checkpoint.save(self._run.dir.checkpoint, self._training.tensors(), self._training.meta())
        return time.perf_counter() - begun

    @property
    def member(self) -> SinglePath:
        """A supernet, as it is trained."""
        return self._training.members[0]


@torch.inference_mode()
def time_passes(run: Run, networks: Sequence[Forward], batches: Sequence[int], seconds: float) -> Floats:
    """Seconds of an evaluation of each batch size by each network, loading included.

    Args:
        run: open; search-val images are evaluated.
        networks: functions from images (B, C, H, W) to logits.
        batches: images of each pass.
        seconds: after which no round is begun any more.

    Returns:
        Shape (R, batches x networks) for R rounds: all networks with the first batch size, then with the next.
    """

    def evaluate(network: Forward, number: int) -> None:
        images = run.split.search_val[:number]
        for batch in run.loader(images, 1, "rank", run.seed, augmented=False).chunks(len(images)):
            predict(run.task, network, *batch, run.machine).cpu()

    work = [partial(evaluate, network, batch) for batch in batches for network in networks]
    return rounds_of(work, seconds, run.machine)


def mixture_seconds(run: Run, members: int, times: int = 50) -> float:
    """Of the mixture's own work in a step, halfway through a search, when accuracies differ by a few percent.

    Args:
        run: open; its space and search settings count.
        members: M, in place of the one that is set.
        times: how many steps are timed.

    Returns:
        The median of their seconds.
    """
    settings = replace(run.settings.search, members=members, inv_temp_end=100.0 * members)
    mixture = Mixture(run.space.size, mixture_rules(settings))
    draw = rng.generator(run.seed, "plan")
    mixture.score_AM[...] = draw.normal(0.5, 0.03, mixture.score_AM.shape).clip(0, 1)
    mixture.prepare(0, 0.5, epoch_starts=True)
    taken: list[float] = []
    for step in range(times):
        mixture.score_AM[draw.integers(run.space.size), draw.integers(members)] += draw.normal(0, 0.003)
        begun = time.perf_counter()
        mixture.prepare(step, 0.5, epoch_starts=False)
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))
