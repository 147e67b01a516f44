"""Costs of a network without data, as they are told."""

import dataclasses

import pytest

import poolsearch
from poolsearch.inspection_results import PARTS, CostReport
from poolsearch.reports.terminal import show_costs
from poolsearch.settings.groups import BudgetSettings
from poolsearch.stages import costs as module

pytestmark = pytest.mark.usefixtures("one_thread")


def test_resnet20_by_the_figures_that_are_known():
    found = poolsearch.costs("cifar-resnet20", batch=8, precision="fp32", budget=BudgetSettings(max_macs="1000G"))
    assert (found.placements, found.looked_at, found.within, found.default) == (36, 36, 36, "4,3,3")
    macs, field, memory = found.columns
    assert macs.default == "40.81M" and macs.quantiles[-1] == "149.3M"  # of 8,1,1: 3.66 times
    assert field.default == "90x90" and field.quantiles[-1] == "142x142"
    assert memory.default.endswith("MB") and "batch 8, fp32" in memory.note
    assert all(len(column.quantiles) == len(PARTS) for column in found.columns)


def test_a_large_space_is_looked_at_by_random_placements(monkeypatch, capsys):
    monkeypatch.setattr(module, "WHOLE_UP_TO", 30)
    monkeypatch.setattr(module, "_SAMPLE", 12)
    found = poolsearch.costs("cifar-resnet20", batch=8, precision="fp32", budget=BudgetSettings(max_macs="1T"))
    assert (found.placements, found.looked_at, found.within) == (36, 12, 12)
    show_costs(found)
    said = " ".join(capsys.readouterr().out.split())
    assert "36 placements, of which 12 random ones were looked at" in said
    assert "12 of 12 placements are within --max-macs 1T." in said


def test_a_rectangle_costs_as_much_as_the_squares_that_it_consists_of(capsys):
    square, strip = (poolsearch.costs("cifar-resnet20", image_size=size, batch=8) for size in (32, "32x64"))
    of_square, of_strip = (float(found.columns[0].default.rstrip("M")) for found in (square, strip))
    assert of_strip == pytest.approx(2 * of_square, rel=0.01)
    show_costs(strip)
    assert "on 32x64" in capsys.readouterr().out


def test_latency_is_there_when_it_is_asked_for():
    found = poolsearch.costs(
        "cifar-resnet20", image_size=8, batch=8, precision="fp32",
        budget=BudgetSettings(latency_device="cpu", latency_batch=2),
    )  # fmt: skip
    assert found.columns[-1].title == "latency" and "a forward pass, batch 2, " in found.columns[-1].note
    assert found.budget == ""


def test_what_is_shown_is_plain():
    plain = ("str", "int", "ImageSize", "tuple[CostColumn, ...]")
    assert all(field.type in plain for field in dataclasses.fields(CostReport))
