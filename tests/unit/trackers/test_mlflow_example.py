"""The example of a callback for MLflow leaves in its store what a run found."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from conftest import ROOT
from poolsearch.storage.files import write_text

pytestmark = pytest.mark.usefixtures("one_thread")


def test_curves_trainings_page_and_verdict_are_in_mlflows_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions want to be asked for it
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    mlflow = pytest.importorskip("mlflow")
    spec = importlib.util.spec_from_file_location("track_with_mlflow", ROOT / "examples" / "track_with_mlflow.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.setattr(
        "poolsearch.pipeline.write_report", lambda folder, _: write_text(folder / "report.html", "a page")
    )
    out = tmp_path / "run"
    small = {"width": 2, "batch": 128, "subset": 512, "precision": "fp32", "device": "cpu", "workers": 1}
    few = {"trials": 1, "trial_epochs": 2, "retrain_epochs": 1, "retrain_seeds": 1, "top_k": 1, "control": ()}
    result = example.run_tracked(out, **small, **few, placements=("4,3,3", "5,3,2"), answer_at=())

    runs = {run.info.run_name: run for run in mlflow.search_runs(output_format="list", search_all_experiments=True)}
    whole = runs.pop("run")
    trial = json.loads((out / "trials/4,3,3/0/metrics.json").read_text())
    assert whole.info.status == "FINISHED" and whole.data.params["trials"] == "1"
    assert whole.data.tags["verdict"] == result.verdict
    assert whole.data.metrics["trials/4-3-3/0/train_loss"] == pytest.approx(trial["train_loss"])
    history = mlflow.MlflowClient().get_metric_history(whole.info.run_id, "trials/4-3-3/0/train_loss")
    assert [point.step for point in history] == [2, 4]
    assert (Path(whole.info.artifact_uri.removeprefix("file://")) / "report.html").read_text() == "a page"
    assert {"trials/4,3,3/0", "retrain/4,3,3/0"} <= runs.keys()
    assert runs["trials/4,3,3/0"].data.metrics["metric"] == pytest.approx(trial["val_metric"])
    assert runs["retrain/4,3,3/0"].data.params == {"stage": "retrain", "placement": "4,3,3", "seed": "0"}
