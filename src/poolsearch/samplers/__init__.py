"""Samplers decide which placement is trained next: ``ask() -> placement``, ``tell(placement, reward)``.

May import ``space``, ``settings`` and the mixture's temperature; no torch.
"""

from __future__ import annotations

from typing import Any, Protocol

from poolsearch.space import Placement


class Sampler(Protocol):
    """A discrete sampler. Its state is a JSON value; a sampler made anew and given it goes on as the old one would."""

    def ask(self) -> Placement:
        """Decide which placement is trained next.

        Returns:
            One of the sampler's space.
        """
        ...

    def tell(self, placement: Placement, reward: float) -> None:
        """Take in how good a placement was that was asked for and trained.

        Args:
            placement: one that :meth:`ask` gave; its reward may come late, in another order, or never.
            reward: its metric on a validation minibatch after the step, a fraction.
        """
        ...

    def state(self) -> Any: ...

    def load_state(self, state: Any) -> None: ...
