"""What the finished run says about the network, in one sentence."""

from __future__ import annotations

from poolsearch.stats import Difference


def verdict(winner: str, default: str, difference: Difference | None) -> str:
    """The sentence for a winner that was fixed from validation.

    Args:
        winner: the first of the ranking.
        default: the network's own placement.
        difference: test accuracy of the winner minus the default's over paired seeds; None with fewer than two seeds.
    """
    if winner == default:
        return f"No evidence for a change: the default placement {default} came out first on the validation images."
    if difference is None:
        return (
            f"No verdict: {winner} came out first on the validation images, but one seed cannot tell it from the "
            f"default {default} on test. Retrain with --retrain-seeds 3 or more."
        )
    gap = f"{difference.mean * 100:+.2f} points of test accuracy against the default {default}"
    interval = f"95% interval {difference.low * 100:+.2f} to {difference.high * 100:+.2f}, {difference.seeds} seeds"
    if difference.low > 0:
        return f"Move the downsampling to {winner}: {gap} ({interval})."
    if difference.high < 0:
        return f"Keep the default: {winner}, first on the validation images, has {gap} ({interval})."
    return f"No evidence for a change: {winner}, first on the validation images, has {gap} ({interval})."
