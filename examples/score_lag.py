"""What reading scores late does to the assignment: searches on digits with several lags and seeds.

python examples/score_lag.py --lags 0 8 64 --seeds 5
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import poolsearch
from poolsearch.storage.run_dir import RunDir


def one(folder: Path, lag: int, seed: int, epochs: int) -> dict[str, float]:
    """A search and its ranking, in figures."""
    settings = poolsearch.Settings.of(preset="paper", data="digits", score_lag=lag, seed=seed, epochs=epochs, width=8)
    poolsearch.search(folder, settings)
    poolsearch.rank(folder)
    files = RunDir(folder)
    events = [json.loads(line) for line in files.events.read_text().splitlines()]
    ranking = json.loads(files.ranking_summary.read_text())
    entropy = [event["assign_entropy"] for event in events]
    half = next((event["step"] for event in events if event["assign_entropy"] < 0.5), float("nan"))
    return {
        "mean entropy of the assignment": float(np.mean(entropy)),
        "entropy below 0.5 after this part of the steps": half / events[-1]["step"],
        "last change of a placement's member, part of the steps": events[-1]["lock_in_step"] / events[-1]["step"],
        "largest surplus of a member's training": events[-1]["most_trained"] * 4 / events[-1]["step"] - 1,
        "kendall_tau of scores and ranking": ranking["tau_score_accuracy"],
    }


def main() -> None:
    """Print a table: means and standard deviations over seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lags", type=int, nargs="+", default=[0, 8, 64])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    given = parser.parse_args()
    for lag in given.lags:
        with tempfile.TemporaryDirectory() as folder:
            found = [one(Path(folder) / str(seed), lag, seed, given.epochs) for seed in range(given.seeds)]
        print(f"lag {lag}, n = {len(found)}", flush=True)
        for name in found[0]:
            values = [each[name] for each in found]
            deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            print(f"  {name}: {np.mean(values):.3f}{deviation}", flush=True)


if __name__ == "__main__":
    main()
