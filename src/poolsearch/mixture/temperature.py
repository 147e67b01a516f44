"""How the inverse temperature grows over the training."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["inverse-linear", "tau-linear", "cosine", "exp"]


def inverse_temperature(progress: float, end: float, schedule: Schedule) -> float:
    """1/temperature at some point of the training.

    Paper: section 2.3 and appendix B.1, temperature "1 decreased linearly to 1/(100 M)".
    Differs: the default ``inverse-linear`` grows 1/temperature linearly, as the authors' runs did: with the literal
    ``tau-linear`` members can only specialise in the last few percent of the training
    (docs/differences.md#annealing-schedule).

    Args:
        progress: part of the training that is done, in [0, 1].
        end: 1/temperature at the end.
        schedule: "inverse-linear", "cosine" and "exp" shape 1/temperature, "tau-linear" the temperature.

    Returns:
        1 at the start, ``end`` at the end.
    """
    match schedule:
        case "inverse-linear":
            return 1 + (end - 1) * progress
        case "tau-linear":
            return 1 / (1 + (1 / end - 1) * progress)
        case "cosine":
            return 1 + (end - 1) * (1 - math.cos(math.pi * progress)) / 2
        case "exp":
            return end**progress
