"""Files for TensorBoard, written as a run goes on."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from poolsearch.callbacks import Callback, EpochEvent, StageEvent, TrialEvent
from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.text.verdict_text import verdict
from poolsearch.space import Placement
from poolsearch.storage.disk import check_place
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import read_opening

_FLUSH_SECONDS = 10
_VERDICT = "."  # the folder itself, which TensorBoard shows as a training of this name


class TensorBoard(Callback):
    """Writes a TensorBoard run for the search and for each stand-alone training, in folders named as theirs.

    Scalars are named by stage, such as ``retrain/train_loss``: trainings of a stage share a chart. ``verdict`` is what
    the whole run says, at the end of each stage.

    Args:
        folder: to write into; made when there is something to write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, SummaryWriter] = {}

    def on_epoch(self, event: EpochEvent) -> None:
        # what a killed process told after its last checkpoint is told again: TensorBoard passes over the first
        writer = self._writer(event.training, again_from=event.step)
        for name, value in event.values.items():
            writer.add_scalar(f"{event.stage}/{name}", value, event.step)

    def on_trial(self, event: TrialEvent) -> None:
        if event.metric is not None:
            self._writer(event.training).add_scalar(f"{event.stage}/metric", event.metric, event.epochs)
        self._close(event.training)

    def on_stage(self, event: StageEvent) -> None:
        if event.phase == "begin" or event.stage == "report":
            return
        if event.stage == "retrain":
            self._write_test(event.folder)
        data = read_run(event.folder)
        said = verdict(data)
        self._writer(_VERDICT).add_text("verdict", f"{said.sentence}\n\n{said.detail}", len(data.run["stages"]))
        self._close(_VERDICT)

    def close(self) -> None:
        """Write what is left."""
        for training in list(self._writers):
            self._close(training)

    def _write_test(self, folder: Path) -> None:
        """What each finalist reached on the test split; the number of epochs is of no matter here."""
        for entry in read_opening(RunDir(folder)).get("trials", []):
            training = f"retrain/{Placement.parse(entry['placement']).file_name}/{entry['seed']}"
            self._writer(training).add_scalar("retrain/test_metric", entry.get("value", entry["accuracy"]), 0)
            self._close(training)

    def _writer(self, training: str, again_from: int | None = None) -> SummaryWriter:
        if training not in self._writers:
            folder = self._folder / training
            check_place(folder)
            self._writers[training] = SummaryWriter(str(folder), purge_step=again_from, flush_secs=_FLUSH_SECONDS)
        return self._writers[training]

    def _close(self, training: str) -> None:
        if training in self._writers:
            self._writers.pop(training).close()
