"""A recipe from the command line, tiny, and what it leaves; resumed, nothing is trained again."""

import csv
import json
import re
import shutil
from typing import get_args

import numpy as np
import pytest

from poolsearch.cli.main import main
from poolsearch.settings.research_groups import RecipeName

FLAGS = "--width 2 --epochs 1 --batch 128 --seeds 2 --precision fp32 --device cpu --quiet".split()
ARMS = ("early", "late", "both", "both-twice")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe") / "figure1"
    assert main(["recipe", "figure1", "--out", str(folder), *FLAGS]) == 0
    return folder


@pytest.fixture(scope="module")
def result(made):
    return json.loads((made / "figure1.json").read_text())


def test_every_search_leaves_its_ranking_and_its_result(made):
    for arm in ARMS:
        for seed in (0, 1):
            found = json.loads((made / arm / str(seed) / "figure1.json").read_text())
            with (made / arm / str(seed) / "ranking.csv").open() as handle:
                ranked = {row["placement"]: float(row["val_accuracy"]) for row in csv.DictReader(handle)}
            assert {entry["placement"]: entry["val_accuracy"] for entry in found["results"]} == ranked
            assert (found["arm"], found["seed"], found["epochs"]) == (arm, seed, 2 if arm == "both-twice" else 1)
            assert len(ranked) == (2 if arm.startswith("both") else 1)


def test_searches_of_a_seed_have_the_same_halves_and_seeds_differ(made):
    hashes = {(arm, s): json.loads((made / arm / s / "split.json").read_text())["hash"] for arm in ARMS for s in "01"}
    assert len({hashes[arm, "0"] for arm in ARMS}) == 1
    assert hashes["early", "0"] != hashes["early", "1"]


def test_differences_are_paired_by_seed(result):
    means = {(entry["arm"], entry["role"]): entry["values"] for entry in result["means"]}
    assert {key: len(values) for key, values in means.items()} == dict.fromkeys(means, 2) and len(means) == 6
    for entry in result["differences"]:
        expected = np.subtract(means[entry["arm"], entry["role"]], means[entry["role"], entry["role"]])
        np.testing.assert_allclose(entry["values"], expected)
        assert entry["low"] <= entry["mean"] <= entry["high"]
        assert (entry["low"] + entry["high"]) / 2 == pytest.approx(entry["mean"])


def test_before_the_first_halving_one_supernet_sees_the_same(result):
    for entry in result["cka"]:
        assert len(entry["blocks"]) == 10
        assert all(value is None or -1e-9 <= value <= 1 + 1e-9 for value in entry["blocks"])
        if entry["a"].split("/")[0] == entry["b"].split("/")[0] and not entry["b"].endswith("again"):
            assert entry["blocks"][0] == pytest.approx(1)
    again = [entry for entry in result["cka"] if entry["b"].endswith("again")]
    assert len(again) == 4 and all(entry["blocks"][0] < 0.999 for entry in again)


def test_maps_are_kept_for_every_view_and_block(made, result):
    with np.load(made / "maps.npz") as arrays:
        assert arrays["images"].shape == (2, 8, 8, 3)
        assert [arrays[f"both/early/{b}"].shape for b in (0, 1, 4)] == [(2, 2, 8, 8), (2, 2, 4, 4), (2, 4, 2, 2)]
        assert [arrays[f"both/late/{b}"].shape[-1] for b in (7, 8, 9)] == [8, 4, 2]
    assert len(set(result["maps"]["classes"])) == 2


def test_the_page_holds_its_pictures_and_loads_nothing(made):
    page = re.sub(r"(?s)<script.*?</script>", "", (made / "report.html").read_text())
    assert page.count('src="data:image/') == 3
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "2 seeds: an interval of so few is wide" in page


def test_resumed_nothing_is_trained_again_but_what_is_missing(made, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    shutil.rmtree(copy / "both" / "1")
    kept = (copy / "late" / "1" / "ranking.csv").stat().st_mtime_ns
    before = json.loads((copy / "figure1.json").read_text())
    assert main(["recipe", "figure1", "--resume", "--out", str(copy), "--quiet"]) == 0
    after = json.loads((copy / "figure1.json").read_text())
    assert (copy / "late" / "1" / "ranking.csv").stat().st_mtime_ns == kept
    for arm in ARMS:
        stages = json.loads((copy / arm / "1" / "run.json").read_text())["stages"]
        assert [stage["stage"] for stage in stages] == ["search", "rank"]
    assert after["means"] == before["means"] and after["cka"] == before["cka"]
    assert "Report:" in capsys.readouterr().out


def test_a_folder_in_use_needs_resume(made, capsys):
    assert main(["recipe", "figure1", "--out", str(made)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_mistake_leaves_nothing_behind(tmp_path, capsys):
    assert main(["recipe", "figure1", "--out", str(tmp_path / "no"), "--late", "9,9"]) == 2
    assert "does not fit" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_the_command_knows_every_recipe():
    from poolsearch.research.recipes import RECIPES

    assert set(get_args(RecipeName)) == set(RECIPES)
