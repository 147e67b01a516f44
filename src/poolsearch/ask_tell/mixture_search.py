"""The balanced mixture for any training loop: ask what to train in the next step, tell how good it was."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args
from uuid import uuid4

import numpy as np
from numpy.typing import ArrayLike, NDArray

from poolsearch import rng
from poolsearch.ask_tell.checks import check_space, check_whole, macs_of
from poolsearch.ask_tell.mixture_ranking import Evaluate, Evaluations, RankedPlacement, metric_of
from poolsearch.ask_tell.ranking import Ranking
from poolsearch.ask_tell.saved_state import check_same_search, space_text
from poolsearch.ask_tell.trial import Trial, WaitingTrial, metrics_of
from poolsearch.errors import PoolsearchError, unknown
from poolsearch.mixture.mixture import Mixture, MixtureRules
from poolsearch.samplers import Sampler
from poolsearch.samplers.make import make_sampler
from poolsearch.samplers.uniform import Uniform
from poolsearch.settings.search_groups import SearchSettings
from poolsearch.space import Placement, Space

SamplerName = Literal["uniform", "boltzmann", "tree"]
RankBy = Literal["own", "mean"]

_METHODS: dict[str, str] = {"uniform": "mixture", "boltzmann": "bse", "tree": "mcts"}
_MEMBERS = 4


class MixtureSearch:
    """A balanced mixture of supernets, to be asked and told; the supernets and their training are yours.

    ::

        search = poolsearch.MixtureSearch(space, members=4, steps=10_000)
        for images, targets in loader:
            trial = search.ask()
            loss = criterion(supernets[trial.member](images, trial.placement), targets)
            ...
            search.tell(trial, accuracy)
        ranking = search.ranking(evaluate)

    Each ``ask`` is one training step: it balances the assignment by the scores so far, draws a placement and a member,
    and counts the step. Nothing else is drawn, and all draws follow from the seed and the step, so that the same
    metrics give the same steps. With one member this is single-path one-shot (SPOS).

    Source: paper, section 2.3.
    Differs: as the search of a run, which uses this class (docs/differences.md).

    Args:
        space: the placements, such as ``poolsearch.restride(model, images).space``.
        members: M, the supernets; 4 where neither it nor ``rules`` is given.
        steps: training steps of all members together. The temperature falls until the last of them; more steps may be
            asked for, and go on at the final temperature.
        seed: of all draws.
        sampler: how placements are drawn. ``uniform``; or with one member ``boltzmann`` (softmax of the scores) or
            ``tree`` (Monte-Carlo tree search), whose schedules count ``steps`` draws; or an object with the methods of
            :class:`poolsearch.samplers.Sampler`, made anew, which draws for one placement a step or for one member.
        rules: how scores are kept and balanced; the paper's, with 1/temperature up to 100 M, where not given.
        steps_per_epoch: needed only for rules with ``balance_every="epoch"``.

    Attributes:
        space, steps, seed: as given.
        mixture: the tables: scores, assignment, training steps of each pair. To be read.

    Raises:
        PoolsearchError: an argument is not as above, or the space has too many placements for tables.
    """

    def __init__(
        self,
        space: Space,
        members: int | None = None,
        *,
        steps: int,
        seed: int = 0,
        sampler: SamplerName | Sampler = "uniform",
        rules: MixtureRules | None = None,
        steps_per_epoch: int | None = None,
    ) -> None:
        check_space(space)
        check_whole("steps", steps, "the training steps of all members together")
        if steps_per_epoch is not None:
            check_whole("steps_per_epoch", steps_per_epoch, "the training steps of an epoch")
        self.space, self.steps, self.seed = space, int(steps), int(seed)
        self._rules = _rules(members, rules, steps_per_epoch)
        self._steps_per_epoch = steps_per_epoch
        self._sampler_name = sampler if isinstance(sampler, str) else type(sampler).__name__
        self._given_sampler = sampler
        self._sampler = self._new_sampler()
        self.mixture = self._new_mixture()
        self._key = uuid4().hex  # tells trials of two searches apart; nothing is drawn by it
        self._step = 0
        self._asked = 0
        self._told = bytearray()  # a bit for each trial

    @property
    def members(self) -> int:
        """M, the number of supernets."""
        return self._rules.members

    @property
    def step(self) -> int:
        """Training steps asked for so far."""
        return self._step

    @property
    def sampler(self) -> Sampler:
        """What draws the placements."""
        return self._sampler

    def progress(self, step: int) -> float:
        """How far the temperature has come at a step.

        Args:
            step: from 0.

        Returns:
            From 0 at the first to 1 at the last of ``steps``, and after it.
        """
        return min(1.0, step / max(1, self.steps - 1))

    def ask(self, placements: int = 1) -> Trial:
        """The next training step: train these placements of this member on one minibatch.

        Args:
            placements: how many, all of one member; one may be drawn twice.

        Returns:
            The trial; its placements count as trained from now on.

        Raises:
            PoolsearchError: the number is below 1; the sampler draws one placement a step only, or none of the space.
            NotBalanced: the scores cannot be balanced.
        """
        check_whole("placements", placements, "the placements of one training step")
        step = self._step
        starts = self._steps_per_epoch is None or step % self._steps_per_epoch == 0
        self.mixture.prepare(step, self.progress(step), starts)
        member, numbers = self._draw(step, placements)
        for number in numbers:
            self.mixture.trained(number, member)
        self._step += 1
        return self._trial(step, member, numbers, True)

    def ask_stalest(self) -> Trial:
        """The placement and member that were not scored for the longest time: to be scored, not trained.

        Returns:
            The trial. Telling its metric brings the score up to date; the sampler is not told.
        """
        number, member = self.mixture.stalest()
        return self._trial(max(0, self._step - 1), member, [number], False)

    def tell(self, trial: Trial, metric: float | Mapping[Placement, float]) -> None:
        """Take in how good a trial was (Eq. 2). It may come late, in any order, or never.

        Args:
            trial: of this search.
            metric: on a minibatch of validation images after the step, from 0 to 1, higher is better; of several
                placements a metric for each. A tensor of one element is taken as well, and waited for.

        Raises:
            PoolsearchError: the metric is no number from 0 to 1, or not one for each placement; the trial was told
                before, or was not asked for by this search. Nothing has changed then.
        """
        self._check_open(trial)
        values = metrics_of(trial, metric)
        if trial.trained:
            for _, placement, value in values:
                self._sampler.tell(placement, value)
        for number, _, value in values:
            self.mixture.scored(number, trial.member, value, trial.step)
        self._told[trial.number // 8] |= 1 << trial.number % 8

    def to_evaluate(self, members: RankBy = "own", top: int | None = None) -> dict[int, list[Placement]]:
        """What a ranking needs evaluated: for evaluations of one's own, such as by the prefix tree.

        ::

            found = {}
            for member, placements in search.to_evaluate().items():
                for placement, metric in poolsearch.evaluate_tree(supernets[member], batches, placements).items():
                    found[member, placement] = metric
            ranking = search.ranking(found)

        Args:
            members, top: as of :meth:`ranking`.

        Returns:
            Placements of each member, in the order of the space; members without any are left out.

        Raises:
            PoolsearchError: an argument is none of those allowed.
        """
        final = self._final(members, top)
        found: dict[int, list[Placement]] = {}
        for number in final.numbers:
            for member in self._evaluated_by(final, number, members):
                found.setdefault(member, []).append(self.space[number])
        return {member: found[member] for member in sorted(found)}

    def ranking(
        self,
        evaluate: Evaluate | Evaluations | None = None,
        members: RankBy = "own",
        top: int | None = None,
        macs: ArrayLike | None = None,
    ) -> Ranking[RankedPlacement]:
        """Rank the placements (paper, section 2.3, end). The search is not changed and may go on.

        Args:
            evaluate: ``evaluate(member, placement)`` gives the metric on the whole validation half, from 0 to 1; or
                these metrics by ``(member, placement)``, for all of :meth:`to_evaluate`. None: by the scores of the
                search, which are averages over minibatches of several steps.
            members: ``own``: each placement by its member, the most probable one by the scores. ``mean``: by the mean
                of all members.
            top: only so many placements, the best by score, and the default; None: all.
            macs: multiply-adds of every placement, in the order of the space, shape (A,); they decide ties, fewer
                first, and are shown.

        Returns:
            Rows, best first; what was never scored comes last in a ranking by scores. Ties are decided by the number.

        Raises:
            PoolsearchError: an argument is none of those allowed, a metric is missing or not from 0 to 1.
            Exception: whatever ``evaluate`` raises, with a note that names member and placement.
        """
        final = self._final(members, top)
        macs_A = None if macs is None else macs_of(macs, self.space)
        found: dict[int, float] = {}
        if evaluate is not None:
            metric = metric_of(evaluate)
            for number in final.numbers:
                placement = self.space[number]
                own = [metric(member, placement) for member in self._evaluated_by(final, number, members)]
                found[number] = sum(own) / len(own)
        value = found if evaluate is not None else final.score_A

        def place(number: int) -> tuple[float, float, int]:
            return -float(value[number]), 0.0 if macs_A is None else float(macs_A[number]), number

        default = self.space.index(self.space.default) if self.space.default in self.space else None
        rows: list[RankedPlacement] = []
        for rank, number in enumerate(sorted(final.numbers, key=place), 1):
            score, member = float(final.score_A[number]), int(final.member_A[number])
            own_macs = None if macs_A is None else int(macs_A[number])
            ratio = None if macs_A is None or default is None else float(macs_A[number] / macs_A[default])
            rows.append(RankedPlacement(
                rank, self.space[number], number, found.get(number), score if np.isfinite(score) else None, member,
                float(final.assign_AM[number, member]), own_macs, ratio, number == default,
            ))  # fmt: skip
        return Ranking(rows)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on.

        Returns:
            Numbers, texts, lists and dictionaries with texts as keys, all of them copies: for ``json``, ``pickle``, or
            ``torch.save`` within a checkpoint, which ``torch.load(..., weights_only=True)`` reads.
        """
        tables = {name: np.asarray(value).tolist() for name, value in self.mixture.state().items()}
        return {
            "kind": type(self).__name__, "of": dict(self._identity), "key": self._key, "step": self._step,
            "asked": self._asked, "told": self._told.hex(), "mixture": tables,
            "sampler": copy.deepcopy(self._sampler.state()),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state: the same steps follow as if the search had never stopped. Trials from before stay valid.

        Args:
            state: of a search that was made with the same arguments.

        Raises:
            PoolsearchError: it is of another space, seed, number of members or steps, sampler or rules, or damaged.
                Nothing has changed then.
        """
        check_same_search(type(self).__name__, state, self._identity)
        try:
            sampler, mixture = self._new_sampler(), self._new_mixture()
            tables = {
                name: np.asarray(state["mixture"][name]).astype(np.asarray(own).dtype).reshape(np.shape(own))
                for name, own in mixture.state().items()
            }
            mixture.load_state(tables)
            key, step, asked = str(state["key"]), int(state["step"]), int(state["asked"])
            told = bytearray.fromhex(state["told"])
            if len(told) != (asked + 7) // 8:
                raise ValueError("the number of trials")
            sampler.load_state(state["sampler"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise PoolsearchError(
                f"the state is damaged ({type(error).__name__}: {error}): give what state_dict() gave, unchanged."
            ) from error
        self._sampler, self.mixture = sampler, mixture
        self._key, self._step, self._asked, self._told = key, step, asked, told

    def resume(
        self,
        step: int,
        tables: dict[str, NDArray[np.generic]],
        sampler: Any,
        waiting: Sequence[WaitingTrial],
    ) -> list[Trial]:
        """Go on from the parts of a state that a run keeps in its own files.

        Args:
            step: training steps done.
            tables: :meth:`poolsearch.mixture.mixture.Mixture.state`.
            sampler: the state of the sampler.
            waiting: trials that are still to be told.

        Returns:
            A trial for each of those that wait.
        """
        self.mixture.load_state(tables)
        self._sampler.load_state(sampler)
        self._step, self._asked, self._told = step, 0, bytearray()
        return [self._trial(*one) for one in waiting]

    def _draw(self, step: int, placements: int) -> tuple[int, list[int]]:
        """The member, and the numbers of the placements, that are trained in a step."""
        draw = rng.generator(self.seed, "member", step)
        if placements > 1 and self.members > 1:
            if type(self._sampler) is not Uniform:
                raise PoolsearchError(
                    f"several placements a step of {self.members} members are drawn uniformly, and this search has the "
                    f"sampler {self._sampler_name}: ask for one placement a step, or make it with members=1."
                )
            member = int(draw.integers(self.members))
            return member, self.mixture.placements(member, draw.random(placements)).tolist()
        numbers = [self._sampled() for _ in range(placements)]
        return self.mixture.member(numbers[0], draw.random()), numbers

    def _sampled(self) -> int:
        placement = self._sampler.ask()
        try:
            return self.space.index(placement)
        except (PoolsearchError, AttributeError):
            raise PoolsearchError(
                f"the sampler {self._sampler_name} asked for {placement!r:.80}, which is not one of the "
                f"{self.space.size} placements of the space: it has to give one of those, such as space[0]."
            ) from None

    def _trial(self, step: int, member: int, numbers: Sequence[int], trained: bool) -> Trial:
        number, placements = self._asked, tuple(self.space[number] for number in numbers)
        if number % 8 == 0:
            self._told.append(0)
        self._asked += 1
        return Trial(number, step, member, placements, tuple(numbers), trained, self._key)

    def _check_open(self, trial: Trial) -> None:
        if not isinstance(trial, Trial):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PoolsearchError(
                f"tell() takes a trial that ask() gave, and its metric; this is a {type(trial).__name__}."
            )
        which = f"trial {trial.number} (member {trial.member}, {', '.join(p.shown for p in trial.placements[:3])})"
        if trial.search != self._key:
            raise PoolsearchError(
                f"{which} was asked for by another search: tell it to that one. A search that goes on from a state "
                "knows the trials of the one that was saved."
            )
        if not 0 <= trial.number < self._asked:
            raise PoolsearchError(
                f"{which} was not asked for by this search, which has asked for {self._asked}: tell only what ask() "
                "gave. Trials from after the state that was loaded are lost with it."
            )
        if self._told[trial.number // 8] >> trial.number % 8 & 1:
            raise PoolsearchError(f"{which} has been told before: tell each trial once, and ask() for the next.")

    def _final(self, members: str, top: int | None) -> _Final:
        """The assignment and the scores as the search would end now, without changing it."""
        if members not in get_args(RankBy):
            raise unknown("value for members:", str(members), get_args(RankBy))
        if top is not None:
            check_whole("top", top, "the placements of the ranking")
        mixture = copy.deepcopy(self.mixture)
        mixture.prepare(self._step, 1.0, epoch_starts=True)
        member_A, learnt_AM = mixture.final_member_A(), mixture.learnt_score_AM()
        every_A = np.arange(self.space.size)
        score_A = learnt_AM[every_A, member_A] if members == "own" else _mean_scored(learnt_AM)
        numbers = every_A
        if top is not None and top < self.space.size:
            default = [self.space.index(self.space.default)] if self.space.default in self.space else []
            numbers = np.unique([*np.argsort(-score_A, kind="stable")[:top], *default])
        return _Final(numbers.tolist(), member_A, score_A, mixture.balanced_AM)

    def _evaluated_by(self, final: _Final, number: int, members: RankBy) -> Sequence[int]:
        return range(self.members) if members == "mean" else [int(final.member_A[number])]

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a state must have in common with this search."""
        return {
            "space": space_text(self.space), "members": self.members, "steps": self.steps, "seed": self.seed,
            "sampler": self._sampler_name, "rules": repr(self._rules), "steps_per_epoch": self._steps_per_epoch,
        }  # fmt: skip

    def _new_mixture(self) -> Mixture:
        return Mixture(self.space.size, self._rules, self.seed)

    def _new_sampler(self) -> Sampler:
        """As it is before its first draw; one that was given stays the same object."""
        given = self._given_sampler
        if not isinstance(given, str):
            lacking = [name for name in ("ask", "tell", "state", "load_state") if not callable(getattr(given, name, 0))]
            if lacking:
                raise PoolsearchError(
                    f"sampler is a {type(given).__name__} without {', '.join(lacking)}: give one of "
                    f"{', '.join(_METHODS)}, or an object with the methods of poolsearch.samplers.Sampler."
                )
            return given
        if given not in _METHODS:
            raise unknown("sampler", given, _METHODS)
        if given != "uniform" and self.members > 1:
            raise PoolsearchError(
                f"the sampler {given} is for one supernet, and this search has {self.members} members, which are "
                "balanced over placements drawn uniformly: give members=1, or sampler='uniform'."
            )
        return make_sampler(_METHODS[given], self.space, SearchSettings(), self.seed, self.steps)


@dataclass(frozen=True)
class _Final:
    """What ranks: numbers of the placements, and of all placements their member, score and assignment."""

    numbers: list[int]
    member_A: NDArray[np.int64]
    score_A: NDArray[np.float64]
    assign_AM: NDArray[np.float64]


def _mean_scored(learnt_AM: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the members that were scored; minus infinity where none was."""
    seen_AM = np.isfinite(learnt_AM)
    count_A = seen_AM.sum(1)
    mean_A = np.where(seen_AM, learnt_AM, 0.0).sum(1) / np.maximum(count_A, 1)
    return np.where(count_A > 0, mean_A, -np.inf)


def _rules(members: int | None, rules: MixtureRules | None, steps_per_epoch: int | None) -> MixtureRules:
    if members is not None:
        check_whole("members", members, "the supernets of the mixture")
    if rules is None:
        count = _MEMBERS if members is None else int(members)
        return MixtureRules(count, inv_temp_end=100.0 * count)
    if members not in (None, rules.members):
        raise PoolsearchError(
            f"members is {members}, and the rules are for {rules.members}: leave members out, or give the same."
        )
    if rules.balance_every == "epoch" and steps_per_epoch is None:
        raise PoolsearchError("rules with balance_every='epoch' need steps_per_epoch, the training steps of an epoch.")
    return rules
