"""A comparison.json with plausible numbers (36 placements of a narrow ResNet20), written by the letter of its format.

It knows nothing of the code that writes real ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_run import accuracy, compositions, macs
from scipy import stats

# case, name, group, budget, members, epochs in all, how much the supernet's values scatter, work
CASES: list[tuple[str, str, str, str, int | None, float | None, float, float]] = [
    ("spos:epochs=24", "spos", "mixture", "equal", 1, 24, 0.030, 1.5),
    ("spos:epochs=6", "spos", "mixture", "own", 1, 6, 0.045, 0.4),
    ("mixture:members=2:epochs=12", "mixture of 2", "mixture", "equal", 2, 24, 0.020, 1.6),
    ("mixture:members=2:epochs=6", "mixture of 2", "mixture", "own", 2, 12, 0.024, 0.8),
    ("mixture:members=4:epochs=6", "mixture of 4", "mixture", "equal", 4, 24, 0.010, 1.7),
    ("mixture:members=8:epochs=3", "mixture of 8", "mixture", "equal", 8, 24, 0.018, 1.7),
    ("mixture:members=8:epochs=6", "mixture of 8", "mixture", "own", 8, 48, 0.008, 3.4),
    (
        "mixture:members=4:schedule=tau-linear:epochs=6",
        "mixture of 4, temperature linear",
        "variants",
        "equal",
        4,
        24,
        0.03,
        1.7,
    ),
    ("spos:sharing=random-init:epochs=24", "spos, weights per resolution", "variants", "equal", 1, 24, 0.035, 2.3),
    ("bse:epochs=24", "BSE", "samplers", "equal", None, 24, 0.028, 1.5),
    ("mcts:epochs=24", "MCTS", "samplers", "equal", None, 24, 0.026, 1.5),
    ("darts:epochs=24", "DARTS", "relaxed", "equal", None, 24, 0.0, 4.1),
    ("sweep:epochs=2", "sweep", "alone", "", None, None, 0.012, 6.0),
]
OUTSIDE = "at 0,1,0,1,1,2,2,2,2,2"


def write_fake_comparison(folder: Path, seeds: int = 3, whole: bool = True, **changes: Any) -> Path:
    """Write a folder with a comparison.

    Args:
        folder: made when missing.
        seeds: of each case.
        whole: whether every placement's truth is known; else only that of what was picked, and no correlation is.
        changes: of the whole file's entries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    value = comparison(seeds, whole) | changes
    (folder / "comparison.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


def comparison(seeds: int = 3, whole: bool = True) -> dict[str, Any]:
    """The value of the file."""
    draw = np.random.default_rng(3)
    placements = compositions(10, 3)
    names = [",".join(map(str, p)) for p in placements]
    truth_A = np.array([accuracy(p, draw) - 0.15 for p in placements])
    macs_A = np.array([macs(p) for p in placements], float)
    macs_A /= macs_A[names.index("4,3,3")]
    space = names, truth_A, macs_A
    drawn = {case[0]: _values(case, truth_A, seeds, draw) for case in CASES}
    best, own = int(truth_A.argmax()), names.index("4,3,3")
    return {
        "poolsearch": "0.1.0", "command": "poolsearch compare spos:epochs=24 'mixture:members=4:epochs=6'",
        "metric": "accuracy", "data": "cifar10", "images": 20000, "net": "cifar-resnet20", "width": 8,
        "default": "4,3,3", "placements": 36, "seeds": seeds, "total_epochs": 24,
        "whole_training": {"epochs": 16, "images": 20000},
        "truth": {
            "source": "/somewhere/runs/truth", "part": "test", "placements": 36 if whole else 9, "seeds": 2,
            "noise": 0.004, "seed_tau": {"value": 0.86, "low": 0.78, "high": 0.92} if whole else None,
            "best": {"placement": names[best], "mean": truth_A[best], "macs_ratio": macs_A[best]},
            "default": {"mean": truth_A[own], "std": 0.003, "n": 2}, "whole": whole,
        },
        "references": _references(*space, whole),
        "cases": [_case(case, drawn[case[0]], *space, whole) for case in CASES],
        "points": [
            {"case": case, "seed": seed, "placement": names[a], "val": val, "score": val - 0.01, "test": None}
            | {"truth": truth_A[a] if whole else None, "macs_ratio": macs_A[a]}
            for case, values in drawn.items()
            if not case.startswith("darts")
            for seed, value_A in enumerate(values)
            for a, val in enumerate(value_A)
        ],
        "unfinished": ["mcts:epochs=24 seed 2"],
        "notes": [],
    }  # fmt: skip


def _values(case: Sequence[Any], truth_A: np.ndarray, seeds: int, draw: np.random.Generator) -> list[list[float]]:
    seeds = seeds - 1 if case[1] == "MCTS" else seeds
    return [(0.6 * truth_A + case[6] * draw.standard_normal(len(truth_A))).tolist() for _ in range(seeds)]


def _references(names: list[str], truth_A: np.ndarray, macs_A: np.ndarray, whole: bool) -> list[dict[str, Any]]:
    none: dict[str, Any] = {"tau": None, "rho": None, "regret1": None, "regret5": None}
    by_macs = {"tau": _reference(macs_A, truth_A, "tau"), "rho": _reference(macs_A, truth_A, "rho")} if whole else {}
    best, own, most = int(truth_A.argmax()), names.index("4,3,3"), int(macs_A.argmax())
    return [
        {"name": name, "pick": names[i], "truth": truth_A[i], "macs_ratio": macs_A[i]} | none | more
        for name, i, more in (
            ("MACs alone", most, by_macs | {"regret1": truth_A[best] - truth_A[most], "regret5": 0.004}),
            ("default", own, {"regret1": truth_A[best] - truth_A[own]}),
            ("best", best, {"regret1": 0.0}),
        )
    ] + [{"name": "one random placement", "pick": None, "truth": truth_A.mean(), "macs_ratio": macs_A.mean()} | none]


def _reference(value_A: np.ndarray, truth_A: np.ndarray, kind: str) -> dict[str, float]:
    value = float((stats.kendalltau if kind == "tau" else stats.spearmanr)(value_A, truth_A)[0])
    return {"value": value, "low": value - 0.14, "high": min(value + 0.11, 1.0)}


def _mean(values: list[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else None} | {
        "n": len(values)
    }


def _case(
    case: Sequence[Any],
    values: list[list[float]],
    names: list[str],
    truth_A: np.ndarray,
    macs_A: np.ndarray,
    whole: bool,
) -> dict[str, Any]:
    text, name, group, budget, members, epochs, _, work = case
    relaxed = text.startswith("darts")
    firsts = [int(np.argmax(value_A)) for value_A in values]
    picks = [
        {"seed": seed, "placement": names[i], "restricted": True, "macs_ratio": macs_A[i], "truth": truth_A[i]}
        | {"truth_n": 2, "regret": truth_A.max() - truth_A[i]}
        for seed, i in enumerate(firsts)
    ]
    if relaxed:
        picks[0] |= {"placement": OUTSIDE, "restricted": False, "macs_ratio": None, "truth": 0.701, "truth_n": 1}
    found = [pick["truth"] for pick in picks]
    ordered = whole and not relaxed
    agreed = {
        kind: {
            order: _mean([_reference(np.array(v), truth_A, kind)["value"] for v in values])
            | _ends(values, truth_A, kind)
            for order in ("ranking", "score")
        } | {"test": None} if ordered else {"ranking": None, "score": None, "test": None}
        for kind in ("tau", "rho", "given_macs")
    }  # fmt: skip
    own, most = truth_A[names.index("4,3,3")], truth_A[int(macs_A.argmax())]
    return {
        "case": text, "name": name, "group": group, "budget": budget, "members": members, "epochs_total": epochs,
        "seeds": len(values), "work": work, "seconds": None if relaxed else 180 * work, "picks": picks,
        "truth": _mean(found), "regret1": _mean([p["regret"] for p in picks]),
        "regret5": _mean([p["regret"] / 3 for p in picks]) if ordered else None,
        "macs_ratio": None if relaxed else float(np.mean([p["macs_ratio"] for p in picks])), **agreed,
        "against": {
            "default": _against([t - own for t in found]), "macs": _against([t - most for t in found]), "random": None,
        },
        "verdict": "no evidence that it is better than the default",
    }  # fmt: skip


def _ends(values: list[list[float]], truth_A: np.ndarray, kind: str) -> dict[str, float]:
    found = [_reference(np.array(value_A), truth_A, kind) for value_A in values]
    return {name: float(np.mean([entry[name] for entry in found])) for name in ("low", "high")}


def _against(values: list[float]) -> dict[str, Any] | None:
    if len(values) < 2:
        return None
    mean, half = float(np.mean(values)), 4.3 * float(np.std(values, ddof=1)) / np.sqrt(len(values))
    p = float(stats.ttest_1samp(values, 0).pvalue) if half else 1.0
    return {"mean": mean, "low": mean - half, "high": mean + half, "p": p, "n": len(values)}
