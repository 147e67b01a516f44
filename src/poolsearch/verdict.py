"""What the finished run says about the network, in one sentence."""

from __future__ import annotations

from collections.abc import Collection

from poolsearch.stats import Difference


def verdict(
    winner: str,
    default: str,
    difference: Difference | None,
    macs_ratio: float,
    diverged: Collection[str] = (),
    metric: str = "accuracy",
) -> str:
    """The sentence for a winner that was fixed from validation.

    Args:
        winner: the first of the ranking.
        default: the network's own placement.
        difference: test metric of the winner minus the default's over paired seeds; None with fewer than two seeds.
        macs_ratio: MACs of the winner over those of the default.
        diverged: placements of which a training ended with a loss that is not a finite number.
        metric: what was measured on the test images, in words.
    """
    if lost := [name for name in dict.fromkeys((winner, default)) if name in diverged]:
        return f"No verdict: the training of {' and of '.join(lost)} diverged. Use a lower --retrain-lr in a new run."
    if winner == default:
        return f"No evidence for a change: the default placement {default} came out first on the validation images."
    if difference is None:
        return (
            f"No verdict: {winner} came out first on the validation images, but one seed cannot tell it from the "
            f"default {default} on test. Use --retrain-seeds 3 or more in a new run."
        )
    gap = f"{difference.mean * 100:+.2f} points of test {metric} against the default {default}"
    interval = f"95% interval {difference.low * 100:+.2f} to {difference.high * 100:+.2f}, {difference.seeds} seeds"
    cost = f"at {macs_ratio:.2f} times its MACs"
    if difference.low > 0:
        return f"Move the downsampling to {winner}: {gap}, {cost} ({interval})."
    if difference.high < 0:
        return f"Keep the default: {winner}, first on the validation images, has {gap}, {cost} ({interval})."
    return f"No evidence for a change: {winner}, first on the validation images, has {gap}, {cost} ({interval})."
