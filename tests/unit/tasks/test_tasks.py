"""Losses and metrics of the tasks by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor, nn

import poolsearch
from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.settings.check import check
from poolsearch.settings.resolve import resolve
from poolsearch.tasks.by_name import check_task, task_by_name, task_of_file
from poolsearch.tasks.dense import dense
from poolsearch.tasks.multi_label import multi_label
from poolsearch.tasks.regression import regression
from poolsearch.tasks.task import Task, check_loss, check_metric, main_output, minibatch_metric, responses


def test_f1_of_labels_is_that_of_scikit_learn_and_one_where_there_are_none() -> None:
    draw = torch.Generator().manual_seed(0)
    y_BK, logits_BK = torch.randint(2, (40, 5), generator=draw).byte(), torch.randn(40, 5, generator=draw)
    y_BK[0], logits_BK[0] = 0, -1.0
    found_B = multi_label("sample-f1").metric(logits_BK, y_BK)
    seen_BK = (logits_BK > 0).int().numpy()
    assert found_B[0] == 1
    assert float(found_B.mean()) == pytest.approx(
        float(f1_score(y_BK.numpy(), seen_BK, average="samples", zero_division=1.0)), abs=1e-6
    )


def test_metrics_of_labels_by_hand() -> None:
    y_BK, logits_BK = torch.tensor([[1, 0, 1], [0, 0, 1]]), torch.tensor([[2.0, -1.0, -3.0], [-1.0, -1.0, 0.5]])
    assert multi_label("label-accuracy").metric(logits_BK, y_BK).tolist() == pytest.approx([2 / 3, 1])
    assert multi_label("exact-match").metric(logits_BK, y_BK).tolist() == [0, 1]
    assert multi_label("sample-f1").metric(logits_BK, y_BK).tolist() == pytest.approx([2 / 3, 1])
    loss = multi_label("exact-match").loss(logits_BK, y_BK)
    signs_BK = torch.where(y_BK > 0, -1.0, 1.0)
    assert float(loss) == pytest.approx(float((1 + (signs_BK * logits_BK).exp()).log().mean()), rel=1e-5)
    frequent, every = multi_label("exact-match").guesses(y_BK)  # two of two images have the last label, one the first
    assert (frequent > 0).tolist() == [False, False, True] and (every > 0).all()


def test_iou_is_that_of_scikit_learn_and_pixels_that_do_not_count_change_nothing() -> None:
    draw = torch.Generator().manual_seed(1)
    y_BHW = torch.randint(3, (8, 6, 7), generator=draw).byte()
    logits_BKHW = torch.randn(8, 4, 6, 7, generator=draw)  # a class that no mask has is seen here and there
    found_B = dense("iou").metric(logits_BKHW, y_BHW)
    seen_BHW = logits_BKHW.argmax(1)
    for image in range(8):
        true_N, seen_N = y_BHW[image].flatten().numpy(), seen_BHW[image].flatten().numpy()
        present = np.union1d(true_N, seen_N)
        assert float(found_B[image]) == pytest.approx(jaccard_score(true_N, seen_N, labels=present, average="macro"))
    y_BHW[:, :3] = 255
    same = dense("iou").metric(logits_BKHW[:, :, 3:], y_BHW[:, 3:])
    torch.testing.assert_close(dense("iou").metric(logits_BKHW, y_BHW), same)
    part = dense("pixel-accuracy").metric(logits_BKHW, y_BHW)
    torch.testing.assert_close(part, (seen_BHW[:, 3:] == y_BHW[:, 3:]).float().mean((1, 2)))
    torch.testing.assert_close(
        dense("iou").loss(logits_BKHW, y_BHW),
        nn.functional.cross_entropy(logits_BKHW[:, :, 3:], y_BHW[:, 3:].long()),
    )
    assert float(dense("iou").loss(logits_BKHW, torch.full_like(y_BHW, 255))) == 0
    assert dense("iou").metric(logits_BKHW, torch.full_like(y_BHW, 255)).tolist() == [1.0] * 8


def test_outputs_of_another_resolution_are_resized_to_the_masks() -> None:
    y_BHW = torch.zeros(2, 8, 8, dtype=torch.uint8)
    y_BHW[:, :, 4:] = 1
    coarse = torch.tensor([[[[3.0, -3.0]], [[-3.0, 3.0]]]]).expand(2, 2, 1, 2)
    assert dense("pixel-accuracy").metric({"aux": coarse * 0, "out": coarse}, y_BHW).tolist() == [1, 1]
    assert dense("iou").metric([coarse], y_BHW).tolist() == [1, 1]
    only = dense("iou").guesses(torch.tensor([[[1, 1], [0, 255]]]))[0]
    assert only.flatten().tolist() == [0, 1]


def test_closeness_is_in_deviations_of_the_training_images() -> None:
    task = regression(torch.tensor([[10.0, 0.0], [14.0, 4.0]]))  # means 12 and 2, deviations 2 and 2
    y = torch.tensor([[12.0, 2.0], [14.0, 2.0]])
    outputs = torch.tensor([[0.0, 0.5], [0.5, -9.0]])  # errors of 0, half, half and nine deviations
    assert task.metric(outputs, y).tolist() == pytest.approx([0.75, 0.25])
    assert float(task.loss(outputs, y)) == pytest.approx((0 + 0.125 + 0.125 + 8.5) / 4)
    zero, median = task.guesses(torch.tensor([[10.0, 0.0], [10.0, 0.0], [14.0, 4.0]]))
    assert zero.tolist() == [0, 0] and median.tolist() == [-1, -1]
    with pytest.raises(PoolsearchError, match=r"value 1 is 3 in all training images"):
        regression(torch.tensor([[1.0, 3.0], [2.0, 3.0]]))
    with pytest.raises(PoolsearchError, match=r"targets of --task regression have the shape \[2, 2\]"):
        regression(torch.zeros(4, 2, 2))


def test_normal_values_at_their_mean_have_the_closeness_that_the_docs_name() -> None:
    y = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
    assert float(regression(y).metric(torch.zeros_like(y), y).mean()) == pytest.approx(0.37, abs=0.005)


@pytest.mark.parametrize("outputs", [torch.ones(2), {"logits": torch.ones(2)}, (torch.ones(2), None), [torch.ones(2)]])
def test_the_output_that_counts(outputs: object) -> None:
    assert torch.equal(main_output(outputs), torch.ones(2))
    with pytest.raises(PoolsearchError, match=r"gives a list without a tensor in front"):
        main_output([[outputs]])


def right(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.flatten() == targets).float()


def test_of_a_task_of_ones_own_the_metric_of_each_image_is_kept() -> None:
    outputs, targets = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 0.0, 3.0])
    per_image = Task(loss=nn.functional.mse_loss, metric=right)
    assert responses(per_image, outputs, targets).tolist() == [1, 0, 1]
    assert float(minibatch_metric(per_image, outputs, targets)) == pytest.approx(2 / 3)
    whole = Task(loss=nn.functional.mse_loss, metric=lambda o, t: right(o, t).mean(), per_image=False)
    assert responses(whole, outputs, targets).tolist() == pytest.approx([2 / 3] * 3)
    lost = Task(loss=nn.functional.mse_loss, metric=lambda o, t: right(o, t) * torch.nan)
    assert responses(lost, outputs, targets).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("metric", "per_image", "message"),
    [
        (lambda *_: "0.5", True, r"gives a str. Give a tensor"),
        (lambda *_: 0.5, True, r"gives the shape \[\] for 3 images; expected is \[3\].*per_image=False"),
        (lambda o, t: right(o, t).mean(), True, r"the shape \[\] for 3 images; expected is \[3\].*per_image=False"),
        (right, False, r"gives the shape \[3\] for 3 images; expected is \[\]"),
        (lambda o, t: right(o, t) * 100, True, r"values from 0 to 100. It must be between 0 and 1"),
        (lambda o, t: right(o, t) - 2, True, r"values from -2 to -1"),
    ],
)  # fmt: skip
def test_a_metric_that_is_none_is_named(metric, per_image: bool, message: str) -> None:
    task = Task(loss=nn.functional.mse_loss, metric=metric, per_image=per_image)
    with pytest.raises(PoolsearchError, match=message):
        check_metric(task, torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 0.0, 3.0]))


def test_a_metric_may_be_a_number_of_python() -> None:
    task = Task(loss=nn.functional.mse_loss, metric=lambda *_: 0.25, per_image=False)
    check_metric(task, torch.zeros(3, 1), torch.zeros(3))
    assert responses(task, torch.zeros(3, 1), torch.zeros(3)).tolist() == [0.25] * 3


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda o, t: (o[:, 0] - t) ** 2, r"gives the shape \[3\]. Give one number: loss.mean\(\)"),
        (lambda *_: 1.0, r"gives a float. Give a tensor"),
        (lambda o, t: (o.detach()[:, 0] - t).mean(), r"has no gradient to the network's outputs"),
        (lambda o, t: (o[:, 0] - t).mean() * torch.inf, r"is -?inf|nan on the first minibatch"),
        (lambda o, t: o @ t, r"fails on outputs of shape \[3, 1\] and targets of shape \[3\]: RuntimeError"),
    ],
)  # fmt: skip
def test_a_loss_that_is_none_is_named(loss, message: str) -> None:
    outputs = torch.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    with pytest.raises(PoolsearchError, match=f"the loss of the task {message}"):
        check_loss(Task(loss=loss, metric=right), outputs, torch.tensor([1.0, 0.0, 3.0]))


def test_what_is_no_task_is_named(tmp_path) -> None:
    with pytest.raises(PoolsearchError, match=r"the task is a str and no task. Give poolsearch.Task\(loss"):
        check_task("x", "the task")
    with pytest.raises(PoolsearchError, match=r"metric of the task the task is a str, no function"):
        check_task(Task(loss=right, metric="iou"), "the task")  # pyright: ignore[reportArgumentType]
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch, poolsearch\n"
        "def task():\n"
        "    return poolsearch.Task(torch.nn.functional.mse_loss, lambda o, t: (o - t).abs().clamp(0, 1))\n"
        "def broken(size):\n"
        "    return size\n"
        "def other():\n"
        "    return 3\n"
    )
    assert isinstance(task_of_file(f"{file}:task", None), Task)
    for name, message in (("broken", "cannot be called without arguments"), ("other", "is a int and no task")):
        with pytest.raises(PoolsearchError, match=message):
            task_of_file(f"{file}:{name}", None)


def test_each_task_has_metrics_of_its_own_and_a_default() -> None:
    def metric(**given: str) -> str | None:
        return resolve(Settings.of(**given), 100, 100, 32).data.metric

    assert metric() == "accuracy" and metric(task="dense") == "iou" and metric(task="multi-label") == "sample-f1"
    assert metric(task="dense", metric="pixel-accuracy") == "pixel-accuracy" and metric(task="mine.py:f") is None
    assert Settings.of(metric="accuracy") == Settings()  # the default by its name is the default
    for given, message in (
        ({"task": "dense", "metric": "accuracy"}, r"--metric accuracy is not one of --task dense. Allowed: iou, pixel"),
        ({"task": "densse"}, r"unknown task 'densse'. Did you mean 'dense'"),
        ({"task": "a.py:b", "metric": "iou"}, r"has a metric of its own"),
        ({"task": "dense", "rank_early_stop": True}, r"none for --metric iou"),
    ):
        with pytest.raises(PoolsearchError, match=message):
            check(Settings.of(**given))


def test_a_run_of_an_older_version_has_its_metric() -> None:
    assert Settings.from_record({"data": {"metric": "accuracy"}}) == Settings()
    assert Settings.from_record({"data": {"metric": "macro-f1"}}).data.metric == "macro-f1"


class Pixels(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        sizes = [(3, 8, 1), (8, 8, 1), (8, 16, 2), (16, 16, 1)]
        units = [nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes]
        self.body, self.head = nn.Sequential(*units), nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


def test_a_network_is_checked_by_a_step_of_its_task() -> None:
    for task in ("multi-label", "regression"):
        assert poolsearch.check(Pixels, 16, 4, task=task).holds
    with pytest.raises(PoolsearchError, match=r"has to give class logits, a tensor of shape \[4, 4, height, width\]"):
        poolsearch.check(Pixels, 16, 4, task="dense")
    with pytest.raises(PoolsearchError, match=r"unknown task 'dens'"):
        poolsearch.check(Pixels, 16, 4, task="dens")


def test_by_name() -> None:
    assert task_by_name("classification", "macro-f1", torch.empty).per_image is False
    assert task_by_name("regression", "closeness", lambda: torch.tensor([1.0, 2.0])).targets == "values"
