"""A run directory with plausible numbers (ResNet20 on CIFAR-10), written by the letter of docs/architecture.md.

It knows nothing of the code that writes real runs, so that the report is tested against the documented formats.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

HOSTILE = "</script><script>alert('x')</script>\"&<b>"
ALL_STAGES = ("search", "rank", "retrain", "test")
EPOCHS = 120
STEPS_PER_EPOCH = 195
VAL_IMAGES = 25_000
TEST_IMAGES = 10_000
CHANNELS = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
IMAGE_SIZE = 32


@dataclass(frozen=True)
class Fake:
    """What every file of one fake run agrees on; the axes are placements A and members M."""

    folder: Path
    members: int
    placements: list[tuple[int, ...]]
    default: int
    macs_A: np.ndarray
    accuracy_A: np.ndarray
    home_A: np.ndarray
    rng: np.random.Generator
    unequal: bool = False

    @cached_property
    def names(self) -> list[str]:
        if not self.unequal:
            return [",".join(map(str, p)) for p in self.placements]
        # the width has the composition of a neighbour, but for the default, which is square
        widths = [self.placements[i if i == self.default else i - 1] for i in range(len(self.placements))]
        return [text_of(p, w) for p, w in zip(self.placements, widths, strict=True)]


def text_of(heights: Sequence[int], widths: Sequence[int]) -> str:
    """The text of a placement in files; exponents height x width of each site where the axes differ."""
    if heights == widths:
        return ",".join(map(str, heights))
    starts = [{*itertools.accumulate(counts)} for counts in (heights, widths)]
    return "_".join(f"{int(i in starts[0])}x{int(i in starts[1])}" for i in range(1, sum(heights)))


def compositions(length: int, parts: int) -> list[tuple[int, ...]]:
    """Every way to share ``length`` blocks among ``parts`` resolutions, in the order of the paper's Table 6."""
    cuts = itertools.combinations(range(1, length), parts - 1)
    return [tuple(b - a for a, b in itertools.pairwise((0, *cut, length))) for cut in cuts]


def macs(placement: Sequence[int]) -> int:
    """Two 3 x 3 convolutions per block at the block's resolution; close enough to a ResNet20."""
    length = sum(placement)
    levels = [level for level, count in enumerate(placement) for _ in range(count)]
    channels = [CHANNELS[i * len(CHANNELS) // length] for i in range(length)]
    return sum(18 * c * c * (IMAGE_SIZE >> level) ** 2 for c, level in zip(channels, levels, strict=True))


def accuracy(placement: Sequence[int], rng: np.random.Generator) -> float:
    """Late first halving helps, many blocks at the last resolution hurt: the shape of Table 6."""
    length = sum(placement)
    first, last = placement[0] / length, placement[-1] / length
    return 0.8805 + 0.062 * first - 0.022 * last - 0.09 * max(0.0, first - 0.7) + 0.003 * float(rng.standard_normal())


def write_fake_run(
    folder: Path,
    members: int = 4,
    placements: list[tuple[int, ...]] | None = None,
    stages: Sequence[str] = ALL_STAGES,
    snapshots: int = 100,
    seed: int = 0,
    class_names: Sequence[str] = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    data_name: str = "cifar10",
    skipped: Sequence[dict[str, str]] = (),
    control: int = 0,
    interrupted: bool = False,
    stopped: int = 0,
    unequal: bool = False,
) -> Path:
    """Write a run folder in which ``stages`` have ended (``interrupted``: the last of them has not).

    Args:
        folder: the run folder, made when missing.
        members: M of the mixture.
        placements: blocks per resolution; None for the 36 of ResNet20.
        stages: any beginning of ``search, rank, retrain, test``.
        snapshots: how often the score table was kept.
        control: how many placements of the ranking belong to the random control group.
        stopped: how many of the ranking's last were stopped early.
        unequal: height and width are halved each by itself (``--axes h,w``); ``placements`` are those of the height.
    """
    rng = np.random.default_rng(seed)
    placements = placements or compositions(10, 3)
    home_A = np.minimum(np.arange(len(placements)) * members // len(placements), members - 1)
    fake = Fake(
        folder=folder,
        members=members,
        placements=placements,
        default=placements.index((4, 3, 3)) if (4, 3, 3) in placements else len(placements) // 2,
        macs_A=np.array([macs(p) for p in placements]),
        accuracy_A=np.array([accuracy(p, rng) for p in placements]),
        home_A=rng.permutation(home_A),
        rng=rng,
        unequal=unequal,
    )
    folder.mkdir(parents=True, exist_ok=True)
    _run_json(fake, stages, class_names, data_name, len(skipped), interrupted)
    _json(folder / "skipped.json", list(skipped))
    _json(folder / "split.json", {"search_train": [], "search_val": [], "test": [], "hash": "5d1f"})
    _parquet(folder / "costs.parquet", number=np.arange(len(placements)), placement=fake.names, macs=fake.macs_A)
    if "search" in stages:
        _events(fake)
        _scores(fake, snapshots)
    if "rank" in stages:
        _ranking(fake, control, stopped)
    if "retrain" in stages:
        _retrain(fake)
    if "test" in stages:
        _test(fake)
    return folder


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _parquet(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def _stage_entries(stages: Sequence[str], interrupted: bool) -> list[dict[str, Any]]:
    seconds = {"search": 1312.4, "rank": 41.0, "retrain": 3120.9}
    entries: list[dict[str, Any]] = [
        {
            "stage": stage,
            "started": f"2025-11-24T1{i}:00:00+00:00",
            "ended": f"2025-11-24T1{i}:52:00+00:00",
            "seconds": seconds[stage],
            "resumed_at_step": None,
        }
        for i, stage in enumerate(s for s in stages if s in seconds)
    ]
    if interrupted and entries:
        entries[-1] |= {"ended": None, "seconds": None}
    return entries


def _settings(fake: Fake, data_name: str) -> dict[str, dict[str, Any]]:
    return {
        "data": {"data": data_name, "image_size": IMAGE_SIZE},
        "net": {"net": "cifar-resnet20"},
        "search": {"method": "mixture", "preset": "paper", "members": fake.members, "epochs": EPOCHS // fake.members},
        "rank": {"rank_all_up_to": 100},
        "retrain": {"top_k": 5, "retrain_seeds": 3, "retrain_epochs": 120},
        "machine": {"seed": 0, "device": "cuda", "precision": "bf16"},
    }


def _run_json(
    fake: Fake, stages: Sequence[str], class_names: Sequence[str], data_name: str, skipped: int, interrupted: bool
) -> None:
    size = len(fake.placements)
    first = fake.placements[0]
    run = {
        "poolsearch": "0.1.0",
        "given": _settings(fake, data_name),
        "settings": _settings(fake, data_name),
        "versions": {"python": "3.11.7", "torch": "2.9.1", "torchvision": "0.24.1", "timm": "1.0.22", "numpy": "2.3.5"},
        "hardware": {
            "cpu": "Intel Xeon Platinum 8481C",
            "cores": 16,
            "device": "cuda",
            "device_name": "NVIDIA H100 80GB HBM3",
            "precision": "bf16",
        },
        "seed": 0,
        "data": {
            "name": data_name,
            "fingerprint": "b3f9c2d1",
            "class_names": list(class_names),
            "image_size": IMAGE_SIZE,
            "images": {"search_train": 25_000, "search_val": VAL_IMAGES, "test": TEST_IMAGES},
            "skipped": skipped,
        },
        "space": {
            "net": "cifar-resnet20",
            "length": sum(first),
            "poolings": len(first) - 1,
            "axes": "h,w" if fake.unequal else "hw",
            "default": fake.names[fake.default],
            "size": size,
            "covered": size,
        },
        "split_hash": "5d1f",
        "stages": _stage_entries(stages, interrupted),
        "warnings": [],
    }
    _json(fake.folder / "run.json", run)


def _events(fake: Fake) -> None:
    lines: list[dict[str, Any]] = []
    for epoch in range(1, EPOCHS + 1):
        done = epoch / EPOCHS
        noise = fake.rng.standard_normal(2)
        lines.append(
            {
                "stage": "search",
                "epoch": epoch,
                "step": epoch * STEPS_PER_EPOCH,
                "seconds": 10.9 * epoch,
                "learning_rate": 0.05 * (1 + np.cos(np.pi * done)),
                "inv_temp": 150 * done,
                "train_loss": 0.28 + 1.7 * np.exp(-3.4 * done) + 0.015 * noise[0],
                "val_metric": 0.885 - 0.5 * np.exp(-4.2 * done) + 0.004 * noise[1],
                "assign_entropy": None if fake.members == 1 else float(1 / (1 + np.exp(14 * (done - 0.55)))),
                "oldest_score": int(40 + 900 * done**4),
                "least_trained": epoch * STEPS_PER_EPOCH // fake.members - 20,
                "most_trained": epoch * STEPS_PER_EPOCH // fake.members + 24,
                "lock_in_step": int(min(done, 0.81) * EPOCHS * STEPS_PER_EPOCH),
                "balance_iterations": 11.5,
            }
        )
    (fake.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def assignment(fake: Fake, done: float) -> np.ndarray:
    """p(member given placement) at ``done`` of the training: from uniform to one home each."""
    lean_AM = 0.22 * np.random.default_rng(7).standard_normal((len(fake.placements), fake.members))
    lean_AM[np.arange(len(fake.placements)), fake.home_A] += 1.0
    logits_AM = 9.0 * done**1.6 * lean_AM
    weight_AM = np.exp(logits_AM - logits_AM.max(1, keepdims=True))
    return weight_AM / weight_AM.sum(1, keepdims=True)


def _scores(fake: Fake, snapshots: int) -> None:
    size, members = len(fake.placements), fake.members
    number_R = np.repeat(np.arange(size), members)
    parts: list[pa.Table] = []
    for done in np.linspace(1 / snapshots, 1, snapshots):
        assign_AM = assignment(fake, float(done))
        score_AM = fake.accuracy_A[:, None] - 0.025 - 0.45 * np.exp(-4 * done) + 0.02 * (assign_AM - 1)
        score_AM = score_AM + 0.004 * fake.rng.standard_normal((size, members))
        columns = {
            "step": np.full(size * members, round(float(done) * EPOCHS * STEPS_PER_EPOCH)),
            "number": number_R,
            "placement": [fake.names[i] for i in number_R],
            "member": np.tile(np.arange(members), size),
            "score": score_AM.ravel(),
            "assignment": assign_AM.ravel(),
            "count": np.full(size * members, round(300 * float(done))),
            "age": fake.rng.integers(5, 200, size * members),
        }
        parts.append(pa.table(columns))
    pq.write_table(pa.concat_tables(parts), fake.folder / "scores.parquet")


def _order(fake: Fake) -> np.ndarray:
    return np.argsort(-(fake.accuracy_A - 0.022), kind="stable")


def _ranking(fake: Fake, control: int, stopped: int) -> None:
    order = _order(fake)
    in_control = set(fake.rng.choice(order[len(order) // 2 :], control, replace=False)) if control else set()
    final_AM = assignment(fake, 1.0)
    with (fake.folder / "ranking.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        names = "rank placement number val_accuracy low high score member assignment macs macs_ratio is_default control"
        writer.writerow([*names.split(), "images"])
        for rank, i in enumerate(order, start=1):
            images = VAL_IMAGES if rank <= len(order) - stopped else 512
            correct = round((fake.accuracy_A[i] - 0.022) * images)
            interval = stats.binomtest(correct, images).proportion_ci(method="wilson")
            member = int(final_AM[i].argmax())
            score = correct / images - 0.01 + 0.003 * fake.rng.standard_normal()
            ratio = fake.macs_A[i] / fake.macs_A[fake.default]
            row = [rank, fake.names[i], i, correct / images, interval.low, interval.high, score, member]
            writer.writerow(
                [*row, final_AM[i, member], fake.macs_A[i], ratio, bool(i == fake.default), i in in_control, images]
            )
    summary = {
        "images": VAL_IMAGES,
        "mode": "top" if control else "all",
        "members": "assignment",
        "norm": "recomputed",
        "placements": len(order),
        "eval_batch": 512,
        "early_stop": {"top": 3, "error": 0.01, "stopped": stopped, "images_saved": 0.5} if stopped else None,
        "seconds_tree": 3.1,
        "seconds_one_by_one": 8.7,
        "measured_saving": 2.8,
        "macs_saving": 2.9,
        "largest_logit_difference": 0.0,
        "tau_score_accuracy": 0.87,
        "tau_macs_accuracy": 0.55,
    }
    _json(fake.folder / "ranking.json", summary)


def finalists(fake: Fake) -> list[int]:
    """Numbers of the placements that are retrained: the first five and the default."""
    top = [int(i) for i in _order(fake)[:5]]
    return top if fake.default in top else [*top, fake.default]


def _retrain(fake: Fake) -> None:
    for number in finalists(fake):
        for seed in range(3):
            folder = fake.folder / "retrain" / fake.names[number] / str(seed)
            folder.mkdir(parents=True, exist_ok=True)
            trial = {"placement": fake.names[number], "seed": seed}
            level = 1 - fake.accuracy_A[number]
            lines = [
                {"stage": "retrain", **trial, "epoch": epoch, "step": epoch * 390, "seconds": 1.4 * epoch}
                | {"learning_rate": 0.05 * (1 + np.cos(np.pi * epoch / 120))}
                | {"train_loss": level + 1.6 * np.exp(-epoch / 28) + 0.012 * fake.rng.standard_normal()}
                for epoch in range(1, 121)
            ]
            (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            _json(
                folder / "metrics.json",
                {**trial, "epochs": 120, "steps": 46_800, "seconds": 168.0, "images": 50_000}
                | {"train_loss": 0.08, "macs": int(fake.macs_A[number]), "parameters": 269_722},
            )


def _test(fake: Fake) -> None:
    trials: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    ranks = {int(i): rank for rank, i in enumerate(_order(fake), start=1)}
    for number in finalists(fake):
        seeds = [float(fake.accuracy_A[number] + 0.0013 * fake.rng.standard_normal()) for _ in range(3)]
        trials += [{"placement": fake.names[number], "seed": s, "accuracy": value} for s, value in enumerate(seeds)]
        summary.append(
            {
                "placement": fake.names[number],
                "rank": ranks[number],
                "is_default": number == fake.default,
                "mean": float(np.mean(seeds)),
                "std": float(np.std(seeds, ddof=1)),
                "n": 3,
                "macs": int(fake.macs_A[number]),
                "macs_ratio": float(fake.macs_A[number] / fake.macs_A[fake.default]),
            }
        )
    winner = next(s for s in summary if s["rank"] == 1)
    default = next(s for s in summary if s["is_default"])
    gain = winner["mean"] - default["mean"]
    verdict = (
        f"Move the downsampling to {winner['placement']}: {winner['mean']:.2%} test accuracy against "
        f"{default['mean']:.2%} for the default {default['placement']} (difference {100 * gain:.2f} points, 95% "
        f"interval {100 * gain - 0.6:.2f} to {100 * gain + 0.6:.2f}, 3 seeds)."
    )
    compared = {
        "against": default["placement"],
        "difference": {"mean": gain, "low": gain - 0.006, "high": gain + 0.006, "seeds": 3, "p": 0.004},
        "probability": 0.998,
    }
    dearest = int(fake.macs_A.argmax())
    macs = {"macs_ratio": float(fake.macs_A[dearest] / fake.macs_A[fake.default])}
    control = {"placement": fake.names[dearest], "image_size": IMAGE_SIZE}
    value = {
        "opened": "2025-11-24T14:10:00+00:00",
        "answers": [
            {"limit": None, "placement": winner["placement"], "default": compared, "equal_macs": None}
            | {"adjusted_p": 0.008, "better": True}
        ],
        "controls": [
            {"control": "macs", "why_not": None, "mean": 0.9, "std": 0.002, "n": 3, **macs}
            | {"trials": [{**control, "seed": s, "accuracy": 0.9 + 0.002 * (s - 1)} for s in range(3)]}
            | {"winner": compared | {"against": fake.names[dearest]}},
            {"control": "input-size", "why_not": "nothing to do", "trials": [], "winner": None},
        ],
        "notes": ["MACs alone would choose something else.", "Control input-size: nothing was trained."],
        "winner": winner["placement"],
        "default": default["placement"],
        "images": TEST_IMAGES,
        "trials": trials,
        "summary": summary,
        "top1": winner["mean"],
        "best_of_top": max(s["mean"] for s in summary),
        "mean_of_top": float(np.mean([s["mean"] for s in summary])),
        "difference": {"mean": gain, "low": gain - 0.006, "high": gain + 0.006, "seeds": 3},
        "verdict": verdict,
    }
    _json(fake.folder / "test.json", value)
