"""What is said of a training that diverged: nothing that follows from it would mean anything."""

from __future__ import annotations

from poolsearch.errors import PoolsearchError
from poolsearch.session.run import Run
from poolsearch.texts import command


def search_diverged(run: Run, what: str, more: str = "") -> PoolsearchError:
    """The error of a search whose training diverged.

    Args:
        run: open.
        what: was trained, such as "the supernets".
        more: flags to lower beside ``--lr``.

    Returns:
        To be raised before anything is ranked.
    """
    return PoolsearchError(
        f"the training of {what} diverged: its loss is no finite number. Nothing is ranked, and the test split stays "
        f"closed. Begin a new run with a lower --lr{more} (it was {run.settings.search.lr:g}){_precision(run)}."
    )


def retraining_diverged(run: Run, what: str) -> PoolsearchError:
    """The error of a retraining without which there is no verdict.

    Args:
        run: open.
        what: was trained.

    Returns:
        To be raised before the test split is opened.
    """
    lr = run.settings.retrain.retrain_lr
    again = command("retrain", "--out", run.dir.root, "--retrain-lr", f"{lr / 10:g}")
    return PoolsearchError(
        f"the retraining of {what} diverged: its loss is no finite number. The test split stays closed. Retrain with a "
        f"lower --retrain-lr (it was {lr:g}){_precision(run)}: delete {run.dir.retrain}, then {again}"
    )


def _precision(run: Run) -> str:
    return "" if run.machine.precision == "fp32" else f", or with --precision fp32 in place of {run.machine.precision}"
