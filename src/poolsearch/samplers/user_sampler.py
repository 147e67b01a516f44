"""A sampler of the user's own, from a file: whatever goes wrong in it is told as theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from poolsearch.errors import PoolsearchError
from poolsearch.samplers import Sampler
from poolsearch.space import Placement, Space
from poolsearch.user_code import call_user_code, factory_of

T = TypeVar("T")
Make = Callable[[Space, int, int], Sampler]
"""A sampler from the space, the seed, and the number of draws in the whole search."""

PROTOCOL = ("ask", "tell", "state", "load_state")


def user_factory(method: str, digest: str | None = None) -> Make:
    """The function of the user's own that a ``--method`` names; its file is run.

    Args:
        method: ``FILE.py:FACTORY``.
        digest: SHA-256 that FILE.py must have; None: the caller names it, so that whatever is in it may run.

    Returns:
        FACTORY, not yet called.

    Raises:
        PoolsearchError: there is no such file or function, its content is another, or it cannot be imported.
    """
    file, _, name = method.rpartition(":")
    return factory_of(Path(file).expanduser(), name, "sampler", digest)


class UserSampler:
    """The user's sampler, watched.

    Args:
        method: ``FILE.py:FACTORY``.
        space, seed, draws: what FACTORY is given.
        digest: SHA-256 that FILE.py must have; None: the caller names it, so that whatever is in it may run.

    Raises:
        PoolsearchError: from here as from every method: it fails, is no sampler, asks for what is no placement of the
            space, or has a state that cannot be saved.
    """

    def __init__(self, method: str, space: Space, seed: int, draws: int, digest: str | None = None) -> None:
        factory = user_factory(method, digest)
        self._name, self._space = method, space
        self._sampler: Sampler = call_user_code(f"sampler {method}", lambda: factory(space, seed, draws))
        lacking = [name for name in PROTOCOL if not callable(getattr(self._sampler, name, None))]
        if lacking:
            raise PoolsearchError(
                f"sampler {method} is a {type(self._sampler).__name__} without {', '.join(lacking)}: a sampler has "
                "ask() -> placement, tell(placement, reward), state() -> a JSON value, and load_state(state)."
            )

    def ask(self) -> Placement:
        placement = self._done("ask", self._sampler.ask)
        if placement not in self._space:
            text = placement.shown if isinstance(placement, Placement) else repr(placement)  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PoolsearchError(
                f"sampler {self._name} asked for {text}, which is not one of the {self._space.size} placements of the "
                f"space: ask() has to give one of those, such as space[0], which is {self._space[0].shown}."
            )
        return placement

    def tell(self, placement: Placement, reward: float) -> None:
        self._done("tell", lambda: self._sampler.tell(placement, reward))

    def state(self) -> Any:
        state = self._done("state", self._sampler.state)
        try:
            json.dumps(state)
        except (TypeError, ValueError) as error:
            raise PoolsearchError(
                f"sampler {self._name} has a state that is no JSON value ({error}): state() has to give one, of lists, "
                "dicts with texts as keys, texts and plain numbers, so that a run can be resumed."
            ) from error
        return state

    def load_state(self, state: Any) -> None:
        self._done("load_state", lambda: self._sampler.load_state(state))

    def _done(self, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except Exception as error:  # the user's code may do anything
            raise PoolsearchError(
                f"sampler {self._name} failed in {what}(): {type(error).__name__}: {error}"
            ) from error
