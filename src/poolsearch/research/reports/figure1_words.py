"""What the page of Figure 1 says in words."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_ARMS = {"early": "alone", "late": "alone", "both": "both", "both-twice": "both, twice the steps"}
ROLES = ("early", "late")


def view_name(arm: str, role: str) -> str:
    """A supernet at one of its placements, for people: ``early alone``, ``early of both``."""
    return f"{role} alone" if arm == role else f"{role} of {_ARMS[arm]}"


def percent(value: float) -> str:
    """An accuracy with two decimals."""
    return f"{value:.2%}"


def difference_text(entry: Json) -> str:
    """A difference in points with its interval."""
    mean = f"{100 * entry['mean']:+.2f}"
    return mean if entry["low"] is None else f"{mean} ({100 * entry['low']:+.2f} to {100 * entry['high']:+.2f})"


def sentences(data: Json) -> list[str]:
    """What came out: first whether both placements lose, then the figures."""
    differences = {(entry["arm"], entry["role"]): entry for entry in data["differences"]}
    return [
        _verdict([differences["both", role] for role in ROLES], "as long as each alone"),
        _verdict([differences["both-twice", role] for role in ROLES], "twice as long, each updated as often as alone"),
        "Differences in points with 95% intervals over seeds: "
        + "; ".join(f"{view_name(e['arm'], e['role'])} {difference_text(e)}" for e in data["differences"])
        + ".",
    ]


def _verdict(entries: list[Json], how: str) -> str:
    words = [f"{entry['role']} pooling {_change(entry)}" for entry in entries]
    return f"Trained together {how}, {words[0]} and {words[1]}."


def _change(entry: Json) -> str:
    """What became of a placement, and whether the interval leaves that open."""
    points = abs(100 * entry["mean"])
    done = "loses" if entry["mean"] < 0 else "gains"
    low, high = entry["low"], entry["high"]
    if low is None:
        return f"{done} {points:.1f} points (one seed: no interval)"
    return f"{done} {points:.1f} points" + ("" if low > 0 or high < 0 else " (its interval holds zero)")


def caveats(data: Json) -> list[str]:
    """What the figures do not show."""
    macs = {r["role"]: r["macs"] for search in data["searches"] for r in search["results"]}
    early, late = (data["placements"][role] for role in ROLES)
    seeds = data["seeds"]
    found = [
        f"{late} costs {macs['late'] / macs['early']:.1f} times the MACs of {early}: what separates the two alone is "
        "not only where they pool.",
        "The paper names neither its two placements nor how long the two together were trained, and gives no numbers: "
        "there is none to compare with.",
        "Representations are compared by each channel's mean over its map; what differs within maps does not count.",
        f"A supernet's BatchNorm has no weights of its own and normalises by the batch at hand; {early} and {late} "
        "alone are trained that way, too.",
    ]
    if seeds < 5:
        found.insert(0, f"{seeds} seed{'s' * (seeds > 1)}: an interval of so few is wide, and a mean of them unsure.")
    return found
