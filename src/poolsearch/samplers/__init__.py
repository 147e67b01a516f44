"""Samplers decide which placement is trained next: ``ask() -> placement``, ``tell(placement, reward)``.

May import ``space``, ``settings`` and the mixture's temperature; no torch.
"""

from __future__ import annotations

from typing import Any, Protocol

from poolsearch.space import Placement


class Sampler(Protocol):
    """A discrete sampler. Its state is a JSON value; a sampler made anew and given it goes on as the old one would."""

    def ask(self) -> Placement:
        """The placement to train next."""
        ...

    def tell(self, placement: Placement, reward: float) -> None:
        """The validation-minibatch accuracy (a fraction) that followed."""
        ...

    def state(self) -> Any: ...

    def load_state(self, state: Any) -> None: ...
