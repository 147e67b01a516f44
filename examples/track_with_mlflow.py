"""A run tracked by MLflow, with a callback of a few lines.

python examples/track_with_mlflow.py my_photos
mlflow ui
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mlflow

import poolsearch
from poolsearch import Callback, EpochEvent, Result, StageEvent, TrialEvent


class MlflowTracker(Callback):
    """Curves of all trainings in the active run of MLflow; below it a run for each stand-alone training."""

    def on_epoch(self, event: EpochEvent) -> None:
        training = event.training.replace(",", "-")  # MLflow allows no commas in names
        mlflow.log_metrics({f"{training}/{name}": value for name, value in event.values.items()}, step=event.step)

    def on_trial(self, event: TrialEvent) -> None:
        with mlflow.start_run(run_name=event.training, nested=True):
            mlflow.log_params({"stage": event.stage, "placement": event.placement, "seed": event.seed})
            mlflow.log_metric("train_loss", event.train_loss)
            if event.metric is not None:
                mlflow.log_metric("metric", event.metric)

    def on_stage(self, event: StageEvent) -> None:
        if (event.stage, event.phase) == ("report", "end"):
            mlflow.log_artifact(str(event.folder / "report.html"))


def run_tracked(out: Path, **settings: Any) -> Result:
    """The whole job, as a run of MLflow with its settings, curves, trainings, page and verdict."""
    with mlflow.start_run(run_name=out.name):
        mlflow.log_params(settings)
        result = poolsearch.run(out, callbacks=[MlflowTracker()], **settings)
        mlflow.set_tag("verdict", result.verdict)
    return result


if __name__ == "__main__":
    data = sys.argv[1] if len(sys.argv) > 1 else "digits"
    print(run_tracked(Path("runs") / f"{Path(data).name}-tracked", data=data))
