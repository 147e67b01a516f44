"""The values of ``--method``, and what each of them trains. Imports no torch."""

from __future__ import annotations

from typing import Literal, get_args

from poolsearch.errors import PoolsearchError, unknown

Kind = Literal["sampled", "relaxed", "alone", "trials", "untrained", "auto"]
"""What a method trains.

sampled: supernets, one placement at a time, drawn by a sampler (:data:`poolsearch.samplers.make.SAMPLERS`).
relaxed: one supernet whose blocks work at all resolutions at once, weighted by numbers that are trained too.
alone: placements by themselves, without a supernet.
trials: a few placements by themselves, each chosen by what those before it taught.
untrained: nothing, before the retraining.
auto: what the planner advises.
"""

METHODS: dict[str, Kind] = {
    "mixture": "sampled",
    "spos": "sampled",
    "bse": "sampled",
    "mcts": "sampled",
    "darts": "relaxed",
    "gaea": "relaxed",
    "sweep": "alone",
    "proxy": "alone",
    "halving": "alone",
    "random": "alone",
    "hyperband": "alone",
    "bayes": "trials",
    "macs": "untrained",
    "auto": "auto",
}
"""Every method by its name. ``FILE.py:FACTORY`` is a sampled one of the user's own."""

SUPERNETS: tuple[Kind, ...] = ("sampled", "relaxed")
SAMPLED: tuple[Kind, ...] = ("sampled",)
RELAXED: tuple[Kind, ...] = ("relaxed",)
PLACED: tuple[Kind, ...] = ("sampled", "alone", "trials", "untrained")
"""Those that choose among the placements of a space."""
PREDICTS = ("sampled", "proxy", "trials")
"""Those whose ranking can learn from stand-alone trainings (``--rank-by prediction``)."""
TREE = ("mcts",)


def usual_method(preset: str) -> str:
    """What ``poolsearch run`` does where no method is given.

    Args:
        preset: a value of ``--preset``.

    Returns:
        A value of ``--method``.
    """
    return "bayes" if preset == "robust" else "mixture"


def is_own(method: str) -> bool:
    """Whether a method is named as ``FILE.py:FACTORY``: a sampler of the user's own.

    Args:
        method: a value of ``--method``.

    Returns:
        Whether it has the form of FILE.py:FACTORY; the file is not looked for.
    """
    file, _, factory = method.rpartition(":")
    return file.endswith(".py") and factory.isidentifier()


def kind_of(method: str) -> Kind:
    """What a method trains.

    Args:
        method: a value of ``--method``.

    Returns:
        Its kind.

    Raises:
        PoolsearchError: there is no such method.
    """
    if is_own(method):
        return "sampled"
    if ".py" in method:
        raise PoolsearchError(
            f"--method {method}: a sampler of your own is named as FILE.py:FACTORY, such as mine.py:make_sampler, a "
            "function that takes the space, the seed and the number of draws, and gives the sampler."
        )
    if method not in METHODS:
        raise unknown("value for --method:", method, [*METHODS, "FILE.py:FACTORY"])
    return METHODS[method]


def named(*kinds: Kind) -> tuple[str, ...]:
    """The methods of these kinds, in the order of :data:`METHODS`.

    Returns:
        Names of methods.
    """
    assert all(kind in get_args(Kind) for kind in kinds)
    return tuple(method for method, kind in METHODS.items() if kind in kinds)


def users(used_by: tuple[str, ...]) -> tuple[str, ...]:
    """The methods that are meant by methods and kinds of them; all for none.

    Args:
        used_by: methods, and kinds of them.

    Returns:
        Names of methods, in the order of :data:`METHODS`.
    """
    return tuple(m for m, kind in METHODS.items() if not used_by or m in used_by or kind in used_by)


def flag(name: str) -> str:
    """A setting as the command line writes it, without the dashes in front.

    Args:
        name: of the field, with underscores.

    Returns:
        The name with dashes.
    """
    return name.replace("_", "-")
