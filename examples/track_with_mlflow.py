"""A run tracked by MLflow: a callback of some lines, and a store of plain files.

python examples/track_with_mlflow.py --data my_photos
mlflow ui --backend-store-uri mlruns
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mlflow

import poolsearch
from poolsearch import Callback, EpochEvent, Settings, StageEvent, TrialEvent


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


def main() -> None:
    """Run the whole job, tracked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", default="digits", help="images, as for 'poolsearch run'")
    parser.add_argument("--out", type=Path, default=Path("runs/tracked"), help="the run's folder")
    parser.add_argument("--store", type=Path, default=Path("mlruns"), help="MLflow's folder")
    parser.add_argument("--epochs", type=int, help="of each training")
    arguments = parser.parse_args()

    mlflow.set_tracking_uri(arguments.store.resolve().as_uri())
    mlflow.set_experiment("poolsearch")
    settings = Settings.of(data=arguments.data, trial_epochs=arguments.epochs, retrain_epochs=arguments.epochs)
    with mlflow.start_run(run_name=arguments.out.name):
        mlflow.log_params({name: value for _, name, value in settings.flat() if value != () and value is not None})
        page = poolsearch.run(arguments.out, settings, callbacks=[MlflowTracker()])
    print(page)


if __name__ == "__main__":
    main()
