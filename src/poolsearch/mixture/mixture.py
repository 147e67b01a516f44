"""M members over A placements: what was scored, who is assigned to what, who trains next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poolsearch import rng
from poolsearch.mixture.balance import assignment_of, balance
from poolsearch.mixture.temperature import Schedule, inverse_temperature


@dataclass(frozen=True)
class MixtureRules:
    """The algorithm's settings; the defaults are the paper's, or where it is silent those of docs/differences.md.

    Attributes:
        members: M; one member is single-path one-shot (SPOS; paper, section 3.2).
        beta: weight of the past in a score (Eq. 2).
        score_init: the score of a pair never scored: a number (1.0 is optimistic and drives early exploration), or
            "first": such a pair counts as the mean of the scored ones and takes its first observation whole.
        schedule, inv_temp_end: see :func:`inverse_temperature`.
        balance_every: "step", or "epoch": member scalings are then found once per epoch, and reused on fresh scores.
        score: "accuracy", or "advantage": accuracy minus the running mean of all accuracies at that step, so that an
            old score is not low merely for being old (docs/differences.md#stale-scores).
        explore: probability of ignoring the assignment and drawing the member uniformly; keeps the balance.
        assign: "learned": by the scores. "fixed": by :func:`fixed_members`, whatever the scores; a rival of the method.
    """

    members: int = 4
    beta: float = 0.9
    score_init: float | Literal["first"] = 1.0
    schedule: Schedule = "inverse-linear"
    inv_temp_end: float = 400.0
    balance_every: Literal["step", "epoch"] = "step"
    score: Literal["accuracy", "advantage"] = "accuracy"
    explore: float = 0.0
    assign: Literal["learned", "fixed"] = "learned"


def fixed_members(placements: int, members: int, seed: int) -> NDArray[np.int64]:
    """Divide the placements at random among the members, equally many to each.

    Source: Zhao et al., Few-shot neural architecture search, ICML 2021: several supernets, each of a part of the space.
    Differs: the parts are random, not those of one choice in the architecture.

    Args:
        placements: A, how many.
        members: M, among how many.
        seed: of the run.

    Returns:
        The member of each placement, shape (A,); parts differ by at most one placement.
    """
    return rng.generator(seed, "fixed-assignment").permutation(placements) % members


class Mixture:
    """Scores, assignment and diagnostics of a balanced mixture (paper, section 2.3).

    A step is ``prepare(step, progress)``, ``member(number, draw)``, then ``trained`` and, when validated, ``scored``.

    Args:
        placements: A, how many.
        rules: the algorithm's settings.
        seed: of the run; a fixed assignment follows from it.

    Attributes:
        score_AM: moving average of validation-minibatch accuracy as a fraction (Eq. 2).
        balanced_AM: p(member given placement) by the scores, of the latest ``prepare``.
        assign_AM: the same with exploration: by it members are drawn.
        trained_AM: training steps of each pair.
        scored_AM: how often each pair was scored.
        scored_at_AM: the step at which it was last scored, -1 for never.
        lock_in_step: the last step at which some placement's most probable member changed.
        iterations: rounds of balancing since the start.
    """

    def __init__(self, placements: int, rules: MixtureRules, seed: int = 0) -> None:
        self.rules = rules
        self._fixed_AM = np.eye(rules.members)[fixed_members(placements, rules.members, seed)]
        shape = (placements, rules.members)
        initial = 0.0 if rules.score_init == "first" else rules.score_init
        self.score_AM = np.full(shape, initial)
        self.balanced_AM = np.full(shape, 1 / rules.members)
        self.assign_AM = self.balanced_AM.copy()
        self.trained_AM = np.zeros(shape, np.int64)
        self.scored_AM = np.zeros(shape, np.int64)
        self.scored_at_AM = np.full(shape, -1, np.int64)
        self.scale_M = np.zeros(rules.members)
        self.favourite_A = np.zeros(placements, np.int64)
        self.mean_accuracy = 0.0
        self.lock_in_step = 0
        self.iterations = 0

    def inv_temp(self, progress: float) -> float:
        """The inverse temperature at some point of the training.

        Args:
            progress: part of the training that is done, in [0, 1].

        Returns:
            1/temperature, from 1 to ``inv_temp_end``.
        """
        return inverse_temperature(progress, self.rules.inv_temp_end, self.rules.schedule)

    def prepare(self, step: int, progress: float, epoch_starts: bool) -> None:
        """Bring the assignment up to date with the scores (Eq. 3 and IPF), before a draw; a fixed one stays.

        Args:
            step: training step that is about to be done (0-based); kept when a favourite changes.
            progress: part of the training that is done, in [0, 1].
            epoch_starts: whether this is the first step of an epoch, at which scalings are found when that is done by
                epoch.

        Raises:
            NotBalanced: the balancing hit its cap.
        """
        if self.rules.assign == "fixed":
            self.balanced_AM, self.assign_AM = self._fixed_AM, self._explored(self._fixed_AM)
            return
        logit_AM = self.inv_temp(progress) * self._known_score_AM()
        if self.rules.balance_every == "step" or epoch_starts:
            balanced = balance(logit_AM, self.scale_M)
            assign_AM, self.scale_M = balanced.assign_AM, balanced.scale_M
            self.iterations += balanced.iterations
        else:
            assign_AM = assignment_of(logit_AM, self.scale_M)
        self.balanced_AM, self.assign_AM = assign_AM, self._explored(assign_AM)
        favourite_A = assign_AM.argmax(1)
        if (favourite_A != self.favourite_A).any():
            self.lock_in_step = step
            self.favourite_A = favourite_A

    def member(self, number: int, draw: float) -> int:
        """Draw the member that trains a placement, by the assignment.

        Args:
            number: of the placement.
            draw: uniform in [0, 1); decides which member it is.

        Returns:
            The member, 0..M-1.
        """
        cumulative_M = self.assign_AM[number].cumsum()
        return min(int(np.searchsorted(cumulative_M, draw * cumulative_M[-1], side="right")), self.rules.members - 1)

    def placements(self, member: int, draw_K: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draw placements for a member that was itself drawn uniformly, by p(placement given member).

        A uniform placement and then a member by the assignment has the same distribution: balanced, both marginals are
        uniform.

        Args:
            member: 0..M-1.
            draw_K: K uniform draws in [0, 1).

        Returns:
            Numbers of K placements, one for each draw; a placement may come more than once.
        """
        cumulative_A = self.assign_AM[:, member].cumsum()
        number_K = np.searchsorted(cumulative_A, draw_K * cumulative_A[-1], side="right")
        return np.minimum(number_K, len(cumulative_A) - 1)

    def trained(self, number: int, member: int) -> None:
        """Record one training step of a pair.

        Args:
            number: of the placement.
            member: the one that was trained.
        """
        self.trained_AM[number, member] += 1

    def scored(self, number: int, member: int, accuracy: float, step: int) -> None:
        """Take in the accuracy of a pair on one validation minibatch (Eq. 2).

        Args:
            number: of the placement.
            member: the one that was scored with it.
            accuracy: a fraction between 0 and 1; another metric where one was chosen.
            step: training step (0-based) after which it was measured.

        Raises:
            ValueError: the accuracy is not a fraction (percent would scale the temperature by 100).
        """
        if not 0 <= accuracy <= 1:
            raise ValueError(f"accuracy {accuracy} is not a fraction between 0 and 1")
        beta, at = self.rules.beta, (number, member)
        first = self.scored_AM[at] == 0
        value = accuracy
        if self.rules.score == "advantage":
            self.mean_accuracy = (
                accuracy if not self.scored_AM.any() else beta * self.mean_accuracy + (1 - beta) * accuracy
            )
            value = accuracy - self.mean_accuracy
        whole = first and self.rules.score_init == "first"
        self.score_AM[at] = value if whole else beta * self.score_AM[at] + (1 - beta) * value
        self.scored_AM[at] += 1
        self.scored_at_AM[at] = step

    def learnt_score_AM(self) -> NDArray[np.float64]:
        """Scores without what is left in them of the initial score; minus infinity for a pair never scored.

        After n observations the initial score still weighs beta^n: a pair seen three times would otherwise rank above
        one seen often, merely because the initial score is high.

        Returns:
            Shape (A, M).
        """
        if self.rules.score_init == "first":
            left_AM = np.zeros_like(self.score_AM)
        else:
            left_AM = np.power(self.rules.beta, self.scored_AM)
        initial = 0.0 if self.rules.score_init == "first" else self.rules.score_init
        seen_AM = self.scored_AM > 0
        learnt_AM = (self.score_AM - left_AM * initial) / np.where(seen_AM, 1 - left_AM, 1.0)
        return np.where(seen_AM, learnt_AM, -np.inf)

    def final_member_A(self) -> NDArray[np.int64]:
        """The member that stands for each placement, after a ``prepare``.

        It is the most probable one by the scores (paper, section 2.3).
        Differs: only among members that were scored with the placement, where there is one. After a short search the
        most probable member may be one that was never tried, probable for its initial score alone.

        Returns:
            Shape (A,), members 0..M-1.
        """
        seen_AM = self.scored_AM > 0
        allowed_AM = seen_AM | ~seen_AM.any(1, keepdims=True)
        return np.where(allowed_AM, self.balanced_AM, -1.0).argmax(1)

    def stalest(self) -> tuple[int, int]:
        """The pair that has not been scored for the longest time.

        Returns:
            Number of the placement, and member; of several the first.
        """
        number, member = np.unravel_index(self.scored_at_AM.argmin(), self.scored_at_AM.shape)
        return int(number), int(member)

    def age_AM(self, step: int) -> NDArray[np.int64]:
        """Steps since each pair was last scored.

        Args:
            step: training steps done so far.

        Returns:
            Shape (A, M); a pair never scored is as old as the search.
        """
        return step - np.maximum(self.scored_at_AM, 0)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that the next step depends on.

        Returns:
            Arrays by the names of the attributes; some are the mixture's own, not copies. Single numbers have shape ().
        """
        tables = {name: getattr(self, name) for name in _TABLES}
        scalars = {name: np.asarray(getattr(self, name)) for name in _SCALARS}
        return tables | scalars

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Undo of :meth:`state`.

        Args:
            state: of a mixture with the same placements and members.
        """
        for name in _TABLES:
            getattr(self, name)[...] = state[name]
        self.balanced_AM = self.assign_AM.copy()  # until the next prepare
        for name in _SCALARS:
            setattr(self, name, state[name].item())

    def _explored(self, assign_AM: NDArray[np.float64]) -> NDArray[np.float64]:
        return (1 - self.rules.explore) * assign_AM + self.rules.explore / self.rules.members

    def _known_score_AM(self) -> NDArray[np.float64]:
        if self.rules.score_init != "first":
            return self.score_AM
        known_AM = self.scored_AM > 0
        mean = self.score_AM[known_AM].mean() if known_AM.any() else 0.0
        return np.where(known_AM, self.score_AM, mean)


_TABLES = ("score_AM", "assign_AM", "trained_AM", "scored_AM", "scored_at_AM", "scale_M", "favourite_A")
_SCALARS = ("mean_accuracy", "lock_in_step", "iterations")
