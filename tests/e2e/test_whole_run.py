"""The whole job as a user runs it, and what it leaves."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.metrics import precision_recall_fscore_support

import poolsearch
from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.settings.config_file import read_config
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import saved_settings

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A tiny run on digits with three members, made once."""
    out = tmp_path_factory.mktemp("whole") / "run"
    settings = Settings.of(
        preset="paper",
        width=2,
        members=3,
        epochs=2,
        retrain_epochs=1,
        retrain_seeds=2,
        top_k=3,
        precision="fp32",
        batch=64,
        device="cpu",
        control=("macs", "random", "input-size"),
    )
    assert poolsearch.run(out, settings).page == out / "report.html"
    return RunDir(out)


def rows(files: RunDir) -> list[dict[str, str]]:
    with open(files.ranking, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_run_leaves_the_file_that_repeats_it(finished: RunDir) -> None:
    assert Settings.of(**read_config(finished.config)) == saved_settings(finished.root)


def test_every_documented_file_is_there(finished: RunDir) -> None:
    expected = {
        "run.json", "split.json", "images.parquet", "duplicates.json", "skipped.json", "costs.parquet", "events.jsonl",
        "scores.parquet", "ranking.csv", "ranking.json", "checkpoint", "retrain", "test.json", "report.html", "figures",
    }  # fmt: skip
    assert expected <= {p.name for p in finished.root.iterdir()}
    assert not list(finished.root.rglob("*.tmp"))


def test_the_ranking_is_sorted_and_covers_the_space(finished: RunDir) -> None:
    ranking = rows(finished)
    assert len(ranking) == 36
    accuracies = [float(row["val_accuracy"]) for row in ranking]
    assert accuracies == sorted(accuracies, reverse=True)
    assert [row["placement"] for row in ranking if row["is_default"] == "True"] == ["4,3,3"]
    for row in ranking:
        assert float(row["low"]) <= float(row["val_accuracy"]) <= float(row["high"])


def test_prefix_sharing_changes_no_bit_and_saves(finished: RunDir) -> None:
    summary = json.loads(finished.ranking_summary.read_text())
    assert summary["largest_logit_difference"] == 0.0
    assert summary["macs_saving"] > 1.3  # 36 placements over 3 members


def test_the_winner_is_the_first_of_the_ranking_whatever_the_test_says(finished: RunDir) -> None:
    test = json.loads(finished.test.read_text())
    assert test["winner"] == rows(finished)[0]["placement"]
    trained = {row["placement"] for row in test["summary"]}
    picks = {within(rows(finished), limit)["placement"] for limit in (1.0, 1.5)}
    assert trained == {row["placement"] for row in rows(finished)[:3]} | picks | {"4,3,3"}
    means = {row["placement"]: row["mean"] for row in test["summary"]}
    top = [means[row["placement"]] for row in rows(finished)[:3]]
    assert test["top1"] == pytest.approx(top[0])
    assert test["best_of_top"] == pytest.approx(max(top))
    assert test["mean_of_top"] == pytest.approx(np.mean(top))


def test_test_accuracies_can_be_had_again_from_the_saved_weights(finished: RunDir) -> None:
    label_N = load_digits().target[json.loads(finished.split.read_text())["test"]]
    test = json.loads(finished.test.read_text())
    trials = test["trials"] + [trial for control in test["controls"] for trial in control["trials"]]
    assert {trial["image_size"] for trial in test["trials"]} == {8}
    for trial in trials:
        size = "" if trial["image_size"] == 8 else f"@{trial['image_size']}"
        folder = finished.retrain / (trial["placement"] + size) / str(trial["seed"])
        assert (np.load(folder / "test_predicted.npy") == label_N).mean() == trial["accuracy"] == trial["value"]
        assert "head.fc.weight" in load_file(folder / "model.safetensors")
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["images"] == 1438  # all training images of digits: 1797 less the 359 held out
        assert metrics["image_size"] == trial["image_size"]


def test_classes_are_what_scikit_learn_says_of_the_saved_predictions(finished: RunDir) -> None:
    label_N = load_digits().target[json.loads(finished.split.read_text())["test"]]
    test = json.loads(finished.test.read_text())
    for network in ("winner", "default"):
        found = [
            precision_recall_fscore_support(label_N, np.load(path), labels=range(10), zero_division=0)
            for path in sorted(finished.retrain.glob(f"{test[network]}/*/test_predicted.npy"))
        ]
        precision_K, recall_K, f1_K, support_K = np.mean(found, 0)
        for k, line in enumerate(test["classes"]):
            assert (line["class"], line["images"]) == (str(k), support_K[k])
            expected = {"recall": recall_K[k], "precision": precision_K[k], "f1": f1_K[k]}
            assert line[network] == pytest.approx(expected)
    assert sum(line["images"] for line in test["classes"]) == test["images"] == 359


def within(ranking: list[dict[str, str]], limit: float) -> dict[str, str]:
    """The first of a ranking with at most so many times the default's MACs."""
    return next(row for row in ranking if float(row["macs_ratio"]) <= limit)


def test_the_answers_are_the_first_within_each_limit_and_written_with_the_ranking_and_the_test(
    finished: RunDir,
) -> None:
    ranking, test = rows(finished), json.loads(finished.test.read_text())
    picks = [within(ranking, 1.0)["placement"], within(ranking, 1.5)["placement"], ranking[0]["placement"]]
    for answers in (json.loads(finished.ranking_summary.read_text())["answers"], test["answers"]):
        assert [(answer["limit"], answer["placement"]) for answer in answers] == [
            *zip((1, 1.5, None), picks, strict=True)
        ]
    tested = {answer["placement"]: answer for answer in test["answers"] if answer["placement"] != "4,3,3"}
    mean = {row["placement"]: row["mean"] for row in test["summary"]}
    for pick, answer in tested.items():
        assert answer["default"]["difference"]["mean"] == pytest.approx(mean[pick] - mean["4,3,3"])
        assert answer["adjusted_p"] >= answer["default"]["difference"]["p"]
    assert len({answer["placement"] for answer in test["answers"]} | {"4,3,3"}) - 1 == len(tested)


def test_the_controls_are_what_they_are_said_to_be(finished: RunDir) -> None:
    test = json.loads(finished.test.read_text())
    control = {entry["control"]: entry for entry in test["controls"]}
    macs = {row["placement"]: float(row["macs_ratio"]) for row in rows(finished)}
    assert {trial["placement"] for trial in control["macs"]["trials"]} == {max(macs, key=macs.__getitem__)}
    assert len({trial["placement"] for trial in control["random"]["trials"]}) == 2  # another for each seed
    winner = macs[test["winner"]]
    if winner > 1.4:  # digits of 9 x 9 pixels cost 1.6 times as much
        larger = control["input-size"]
        assert {(trial["placement"], trial["image_size"] > 8) for trial in larger["trials"]} == {("4,3,3", True)}
        assert abs(larger["macs_ratio"] - winner) < winner - 1
    assert len(test["notes"]) == 3


def test_the_split_is_disjoint_and_whole(finished: RunDir) -> None:
    split = json.loads(finished.split.read_text())
    parts = [set(split[name]) for name in ("search_train", "search_val", "test")]
    assert set.union(*parts) == set(range(1797))
    assert sum(map(len, parts)) == 1797
    assert abs(len(parts[0]) - len(parts[1])) <= 1


def test_the_assignment_stays_balanced(finished: RunDir) -> None:
    table = pq.read_table(finished.scores).to_pydict()
    last = max(table["step"])
    share: dict[int, float] = {}
    total = 0.0
    for step, member, assignment in zip(table["step"], table["member"], table["assignment"], strict=True):
        if step == last:
            share[member] = share.get(member, 0) + assignment / 36
            total += assignment
    assert total == pytest.approx(36, rel=1e-4)
    # KL(p(member) || uniform) < 1e-4 nats bounds each share (Pinsker: total variation < sqrt(KL / 2) = 0.0071)
    assert all(abs(value - 1 / 3) < 0.0072 for value in share.values())


def test_events_say_what_is_documented(finished: RunDir) -> None:
    events = [json.loads(line) for line in finished.events.read_text().splitlines()]
    assert [event["epoch"] for event in events] == list(range(6))  # two per member
    assert events[-1]["inv_temp"] == pytest.approx(300)
    total = events[-1]["step"]
    for event in events:  # that of the epoch's last step, on half a cosine from 0.1 * 64 / 128 to 0.001
        done = (event["step"] - 1) / total
        assert event["learning_rate"] == pytest.approx(0.001 + 0.049 * (1 + math.cos(math.pi * done)) / 2)
    assert sum(1 for _ in events) == 6
    for event in events:
        assert 0 <= event["assign_entropy"] <= 1
        assert event["least_trained"] <= event["most_trained"] <= event["step"]


def test_the_recorded_settings_make_the_same_run_again(finished: RunDir, tmp_path: Path) -> None:
    given = json.loads(finished.run.read_text())["given"]
    poolsearch.search(tmp_path / "again", Settings.from_dict(given))
    poolsearch.rank(tmp_path / "again")
    assert RunDir(tmp_path / "again").ranking.read_text() == finished.ranking.read_text()


def test_another_seed_gives_another_run(finished: RunDir, tmp_path: Path) -> None:
    given = Settings.from_dict(json.loads(finished.run.read_text())["given"])
    poolsearch.search(tmp_path / "other", given.changed(seed=1))
    poolsearch.rank(tmp_path / "other")
    assert RunDir(tmp_path / "other").ranking.read_text() != finished.ranking.read_text()
    assert RunDir(tmp_path / "other").split.read_text() != finished.split.read_text()


def test_a_finished_run_is_not_done_again(finished: RunDir) -> None:
    before = {p: p.stat().st_mtime_ns for p in (finished.ranking, finished.test)}
    poolsearch.run(finished.root, resume=True)
    assert {p: p.stat().st_mtime_ns for p in before} == before


AT_NIGHT = partial(pytest.param, marks=pytest.mark.nightly)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "calibrate"},
        AT_NIGHT({"norm": "per_placement"}),  # also of every run in faults/test_kill_resume.py
        {"method": "spos"},
        {"assign": "fixed", "explore": 0.2},
        {"preset": "official"},
        {"score": "advantage", "refresh": 3, "explore": 0.1, "score_init": "first"},
        {"val_every": 2, "val_batch": 32, "schedule": "tau-linear"},
        AT_NIGHT({"op": "avg"}),  # also, block by block, in unit/nets/test_poolable.py
        {"op": "blur"},
        {"op": "stride"},
        AT_NIGHT({"rank_members": "best"}),  # also ranked by in unit/stages/test_rank.py
        AT_NIGHT({"rank_members": "mean"}),
        {"placements": ("4,3,3", "5,3,2", "7,1,2")},
        {"max_blocks": (4, 4, 4)},
        {"max_placements": 12},
        AT_NIGHT({"net": "cifar-resnet18"}),  # resnet18 has its blocks and more
        {"net": "resnet18", "image_size": 32, "batch": 32, "val_batch": 32},
    ],
    ids=lambda changes: ",".join(f"{k}={v}" for k, v in changes.items()),
)
def test_every_option_searches_and_ranks(
    tmp_path: Path, tiny: Callable[..., Settings], changes: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    data = upscaled_digits(tmp_path) if "image_size" in changes else "digits"
    poolsearch.search(out, tiny(**{"data": data, **changes}))
    poolsearch.rank(out)
    ranking = rows(RunDir(out))
    assert len(ranking) == expected_rows(changes)
    assert json.loads(RunDir(out).ranking_summary.read_text())["largest_logit_difference"] == 0.0


def expected_rows(changes: dict[str, Any]) -> int:
    sizes = {"placements": 3, "max_placements": 12, "max_blocks": 6}
    names = {"cifar-resnet18": 56, "resnet18": 35}
    return next((sizes[k] for k in changes if k in sizes), names.get(changes.get("net", ""), 36))


def test_the_order_of_the_images_on_disk_does_not_matter_to_the_ranking(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    """Folders are sorted by class; evaluated in that order, each batch would be of one class, with other statistics."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    best = {}
    for name, order in (("sorted", np.argsort(digits.target, kind="stable")), ("mixed", np.arange(1797))):
        x = (digits.images[order] * 15.9).astype(np.uint8)
        np.savez(tmp_path / f"{name}.npz", x=x, y=digits.target[order])
        changes = {"width": 8, "epochs": 6, "batch": 32, "val_batch": 32, "eval_batch": 64, "augment": "crop"}
        poolsearch.search(tmp_path / name, tiny(data=str(tmp_path / f"{name}.npz"), **changes))
        poolsearch.rank(tmp_path / name)
        best[name] = float(rows(RunDir(tmp_path / name))[0]["val_accuracy"])
    assert best["mixed"] > 0.6
    assert abs(best["sorted"] - best["mixed"]) < 0.2


def test_a_large_space_is_ranked_by_score_with_a_control_group_and_the_default(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    poolsearch.search(tmp_path / "run", tiny(rank_all_up_to=10, rank_top=4, rank_control=5))
    poolsearch.rank(tmp_path / "run")
    ranking = rows(RunDir(tmp_path / "run"))
    control = {row["placement"] for row in ranking if row["control"] == "True"}
    top = {row["placement"] for row in ranking} - control - {"4,3,3"}
    assert len(control) == 5
    assert len(top) in (3, 4)  # the default may be among the four best
    score = scores_without_their_start(RunDir(tmp_path / "run"))
    assert min(score[name] for name in top) >= max(score[name] for name in score.keys() - top - {"4,3,3"})


def scores_without_their_start(files: RunDir) -> dict[str, float]:
    """Each placement's final member's score, less what is left in it of the initial 1.0 (0.9^n after n scorings)."""
    tensors = load_file(files.checkpoint)
    score, seen = tensors["mixture/score_AM"].numpy(), tensors["mixture/scored_AM"].numpy()
    learnt = np.where(seen > 0, (score - 0.9**seen) / np.where(seen > 0, 1 - 0.9**seen, 1), -np.inf)
    member = {row["placement"]: int(row["member"]) for row in rows(files)}
    names = pq.read_table(files.costs).to_pydict()["placement"]
    return {name: float(learnt[i, member[name]]) for i, name in enumerate(names) if name in member}


def test_placements_never_scored_do_not_pass_as_the_best_by_score(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    settings = tiny(net="cifar-resnet50", batch=256, rank_top=20, rank_control=5)
    poolsearch.search(tmp_path / "run", settings)  # four steps: at most four of 560 placements are scored
    poolsearch.rank(tmp_path / "run")
    ranking = rows(RunDir(tmp_path / "run"))
    scored = [row for row in ranking if row["score"]]
    assert 0 < len(scored) <= 4
    chosen = [row for row in ranking if row["control"] == "False" and row["is_default"] == "False"]
    assert all(row["score"] for row in chosen)
    assert len(ranking) in (25, 26)
    warnings = json.loads(RunDir(tmp_path / "run").run.read_text())["warnings"]
    assert any("of 560 placements were scored" in text for text in warnings)


def test_a_training_that_diverges_ends_the_run_before_the_test_split_is_opened(
    tmp_path: Path, tiny: Callable[..., Settings]
) -> None:
    out, few = tmp_path / "run", {"placements": ("4,3,3", "5,3,2"), "retrain_epochs": 2}
    high = tiny(lr=100.0, weight_decay=1.0, members=1, epochs=8, **few)
    for again in (False, True):
        with pytest.raises(PoolsearchError, match=r"the supernets diverged.* a lower --lr \(it was 100\)"):
            poolsearch.run(out, None if again else high, resume=again)
        assert not RunDir(out).ranking.exists() and not RunDir(out).test.exists()
    assert "NaN" not in RunDir(out).events.read_text()
    out = tmp_path / "retrained"
    with pytest.raises(PoolsearchError, match=r"the retraining of .* diverged.* a lower --retrain-lr \(it was 100\)"):
        poolsearch.run(out, tiny(retrain_lr=100.0, retrain_weight_decay=1.0, **few))
    assert not RunDir(out).test.exists()
    shutil.rmtree(RunDir(out).retrain)
    poolsearch.retrain(out, tiny(retrain_lr=0.01, **few))
    assert json.loads(RunDir(out).test.read_text())["verdict"]


def test_data_that_moved_can_be_resumed(
    tmp_path: Path, image_folder: Callable[..., Path], tiny: Callable[..., Settings]
) -> None:
    folder, out = image_folder(), tmp_path / "run"
    settings = tiny(data=folder, image_size=16, batch=8, val_batch=8)
    poolsearch.search(out, settings)
    folder.rename(tmp_path / "moved")
    poolsearch.rank(out, settings.changed(data=tmp_path / "moved"))
    assert len(rows(RunDir(out))) == 36


def test_what_is_missing_or_cannot_be_read_is_said(
    tmp_path: Path, image_folder: Callable[..., Path], tiny: Callable[..., Settings]
) -> None:
    folder, out = image_folder(), tmp_path / "run"
    root = tmp_path / "parts"
    root.mkdir()
    folder.rename(root / "train")
    for c in (0, 1):
        (root / "test" / f"class{c}").mkdir(parents=True)
        (root / "train" / f"class{c}" / "000.jpg").rename(root / "test" / f"class{c}" / "000.jpg")
    (root / "train" / "class0" / "IMG_1.HEIC").write_bytes(b"from a telephone")
    poolsearch.search(out, tiny(data=root, image_size=16, batch=8, val_batch=8))
    warnings = json.loads(RunDir(out).run.read_text())["warnings"]
    assert "the test split has no image of 1 of 3 classes: class2." in warnings
    assert any("passed over: 1 .heic" in text for text in warnings)


def upscaled_digits(folder: Path) -> str:
    from sklearn.datasets import load_digits

    digits = load_digits()
    big = np.kron(digits.images[:300] * 15.9, np.ones((4, 4))).astype(np.uint8)
    np.savez(folder / "big.npz", x=big, y=digits.target[:300])
    return str(folder / "big.npz")


def test_one_command_on_a_folder_of_mixed_photos(
    tmp_path: Path, image_folder: Callable[..., Path], command: Command, tiny_flags: list[str]
) -> None:
    folder = image_folder()
    (folder / "class0" / "broken.jpg").write_bytes((folder / "class0" / "000.jpg").read_bytes()[:300])
    Image.new("L", (50, 60), 90).save(folder / "class1" / "grey.png")
    flags = ["--batch", "8", "--val-batch", "8", "--image-size", "32"]
    result = command("run", "--data", folder, "--out", tmp_path / "run", *tiny_flags, *flags)
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout
    skipped = json.loads((tmp_path / "run" / "skipped.json").read_text())
    assert [entry["file"] for entry in skipped] == ["class0/broken.jpg"]
    assert "1 file" in result.stderr


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from poolsearch.cli.main import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "--members" in result.stdout


def test_help_names_every_command(command: Command) -> None:
    result = command("--help")
    assert result.returncode == 0
    for name in ("run", "search", "rank", "retrain", "report"):
        assert f"{name} " in result.stdout
