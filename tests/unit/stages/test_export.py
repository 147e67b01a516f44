"""Exporting a run: what is written, what is checked, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import poolsearch
from poolsearch.errors import PoolsearchError
from poolsearch.exporting import builtin_code
from poolsearch.exporting.check import TOLERANCE
from poolsearch.settings import Settings
from poolsearch.stages import export as stage
from poolsearch.storage.files import sha256


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    out = tmp_path_factory.mktemp("export") / "run"
    poolsearch.run(out, Settings.of(
        preset="paper", width=2, members=2, epochs=1, retrain_epochs=1, retrain_seeds=2, top_k=1, precision="fp32",
        batch=128, val_batch=128, device="cpu",
    ))  # fmt: skip
    return out


@pytest.fixture
def finished(done: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(done, tmp_path / "run"))


def _winner(out: Path) -> str:
    return json.loads((out / "test.json").read_text())["winner"]


def test_the_winner_is_exported_and_told(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "missing_packages", list)
    folder = poolsearch.export(finished)
    found = json.loads((folder / "export.json").read_text())
    assert (found["placement"], found["seed"]) == (_winner(finished), 0)
    assert found["verdict"] == json.loads((finished / "test.json").read_text())["verdict"]
    assert found["verdict"] in (folder / "README.md").read_text()
    assert {*found["files"]} == {"README.md", "model.onnx", "model.py", "model.safetensors"}
    assert all(sha256((folder / name).read_bytes()) == value for name, value in found["files"].items())
    assert found["differences"]["model"]["logits"] == 0
    assert found["differences"]["maps"]["logits"] == 0
    assert found["differences"]["onnx"]["relative"] < TOLERANCE
    assert {p.name for p in folder.iterdir()} == {*found["files"], "export.json"}
    trained = finished / "retrain" / _winner(finished) / "0" / "model.safetensors"
    assert (folder / "model.safetensors").read_bytes() == trained.read_bytes()


def test_without_onnx_the_rest_is_exported(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "missing_packages", lambda: ["onnxscript"])
    folder = poolsearch.export(finished, placement="default", seed=1)
    found = json.loads((folder / "export.json").read_text())
    assert (found["placement"], found["seed"], found["differences"]["onnx"]) == ("4,3,3", 1, None)
    assert not (folder / "model.onnx").exists()
    assert "pip install 'poolsearch[onnx]'" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("max_pool2d", "avg_pool2d"), "differs"),
        (("POOLED = {", "POOLED = {1: 2, "), "cannot be exported"),
        (
            ("class Net(", "import poolsearch\n\n\nclass Net("),
            "import of poolsearch halted",
        ),
    ],
)
def test_code_that_computes_something_else_is_not_kept(
    finished: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], message: str
) -> None:
    monkeypatch.setattr(stage, "missing_packages", lambda: ["onnx"])
    monkeypatch.setattr(stage, "builtin_code", lambda *a: builtin_code.builtin_code(*a).replace(*change))
    with pytest.raises(PoolsearchError, match=message):
        poolsearch.export(finished)
    assert not (finished / "export").exists()
    assert not [*finished.glob(".poolsearch-*")]


def test_an_export_that_fails_leaves_the_one_before(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "missing_packages", lambda: ["onnx"])
    folder = poolsearch.export(finished)
    before = (folder / "export.json").read_bytes()
    monkeypatch.setattr(stage, "builtin_code", lambda *_: "raise SystemExit(3)")
    with pytest.raises(PoolsearchError, match="does not run by itself"):
        poolsearch.export(finished)
    assert (folder / "export.json").read_bytes() == before


def test_what_was_not_retrained_is_refused_and_what_was_is_named(finished: Path) -> None:
    with pytest.raises(PoolsearchError, match=r"no retrained network of 1,1,8, seed 0\. Choose one of: .*4,3,3 seed 0"):
        poolsearch.export(finished, placement="1,1,8")
    shutil.rmtree(finished / "retrain")
    with pytest.raises(PoolsearchError, match="Run: poolsearch retrain --out"):
        poolsearch.export(finished)
    for name in ("ranking.csv", "test.json"):
        (finished / name).unlink()
    with pytest.raises(PoolsearchError, match=r"no ranking yet\. Run: poolsearch rank"):
        poolsearch.export(finished)


def test_damaged_weights_are_refused(finished: Path) -> None:
    path = finished / "retrain" / _winner(finished) / "0" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PoolsearchError, match="is damaged"):
        poolsearch.export(finished)


def test_a_diverged_network_is_refused(finished: Path) -> None:
    from poolsearch.train import checkpoint

    path = finished / "retrain" / _winner(finished) / "0" / "model.safetensors"
    tensors, meta = checkpoint.load(path)
    checkpoint.save(path, tensors | {"head.fc.bias": torch.full_like(tensors["head.fc.bias"], torch.nan)}, meta)
    with pytest.raises(PoolsearchError, match="diverged"):
        poolsearch.export(finished)
