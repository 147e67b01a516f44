"""The proof finds what is wrong: each fault is injected for real."""

import contextlib
import copy
import dataclasses

import pytest
import torch
from torch import nn

from poolsearch.nets.resnet import BasicBlock
from poolsearch.nets.restride import prove, restride
from poolsearch.nets.restride.program import Program
from poolsearch.progress import SilentProgress
from poolsearch.space import HALVE, KEEP, Placement

from .test_network import plain

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def pair(images):
    model = plain()
    return model, restride(model, images(16))


def problems(pair, images, placements=()):
    model, net = pair
    return " | ".join(p for proof in prove(net, model, placements, images(16)) for p in proof.problems)


class Changed:
    """A program with something else around it; passes for one in a deep copy, too."""

    def __init__(self, program, before=lambda x: x, after=lambda x: x):
        self.run = lambda model, state: after(program(model, before(state)))

    def __call__(self, model, state):
        return self.run(model, state)


def change(net, index, site, **around):
    programs = net.blocks[index]._programs
    programs[site] = Changed(programs[site], **around)


def test_an_honest_network_holds_at_all_placements(pair, images):
    proofs = prove(pair[1], pair[0], pair[1].space, images(16))
    assert proofs[0].placement == pair[1].default
    assert {p.placement for p in proofs} == {*pair[1].space} and len(proofs) == 6
    assert all(p.holds and not p.problems for p in proofs)
    assert proofs[0].sizes == ((16, 16), (8, 8), (8, 8), (8, 8), (4, 4))


def test_neither_network_is_changed(pair, images):
    model, net = pair
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.body[1].eval()
    modes = [m.training for m in model.modules()]
    prove(net, model, net.space, images(16))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


def test_a_block_that_does_not_shrink_is_found(pair, images):
    programs = pair[1].blocks[2]._programs
    programs[HALVE] = programs[KEEP]
    assert problems(pair, images) == ""  # the default has no site there
    found = problems(pair, images, [Placement.parse("2,2,1")])
    assert "block 2 makes (16, 16) into (16, 16) at a site of (1, 1)" in found


def test_a_block_that_shrinks_unasked_is_found(pair, images):
    programs = pair[1].blocks[3]._programs
    programs[KEEP] = programs[HALVE]
    assert "block 3 makes (8, 8) into (4, 4) at a site of (0, 0)" in problems(pair, images)


def test_numbers_that_are_a_little_off_are_found_in_both_modes(pair, images):
    change(pair[1], 1, HALVE, after=lambda x: x * (1 + 1e-6))
    found = problems(pair, images)
    assert "in evaluation, the logits at the default placement differ" in found
    assert "in training, the logits" in found


def test_a_block_run_twice_is_found_by_its_statistics(pair, images):
    model, net = pair
    program, norm = net.blocks[0]._programs[KEEP], model.body[0].norm

    def again(model, state):
        program(model, state)
        with torch.random.fork_rng():
            return program(model, state)

    class Twice(Changed):
        def __init__(self):
            self.run = again

    net.blocks[0]._programs[KEEP] = Twice()
    assert norm.track_running_stats
    assert "buffer 'body.0.norm" in problems(pair, images)


def test_a_lost_gradient_is_found_at_its_placement(pair, images):
    change(pair[1], 2, HALVE, after=lambda x: x.detach())
    found = problems(pair, images, [Placement.parse("2,2,1")])
    assert found.startswith("parameters without a gradient: model.body.0.conv.weight")


def test_gradients_that_are_not_finite_are_found(pair, images):
    change(pair[1], 2, HALVE, after=lambda x: x * float("inf"))
    assert "gradients that are not finite: " in problems(pair, images, [Placement.parse("2,2,1")])


def test_another_parameter_is_found(pair, images):
    model, net = pair
    other = copy.deepcopy(model)
    other.fc.bias = None
    assert "parameter 'fc.bias' differs" in " ".join(prove(net, other, [], images(16))[0].problems)
    wider = copy.deepcopy(model)
    wider.extra = nn.Linear(1, 1)
    assert "parameter 'extra.bias' differs" in " ".join(prove(net, wider, [], images(16))[0].problems)


def test_only_some_are_run_of_a_large_space(pair, images, monkeypatch):
    runs = []
    original = Program.__call__

    def counted(self, model, state):
        runs.append(next(model.parameters()).device.type)
        return original(self, model, state)

    monkeypatch.setattr(Program, "__call__", counted)
    proofs = prove(pair[1], pair[0], pair[1].space, images(16), run=2)
    assert len(proofs) == 6
    # stem, 5 blocks, head: reached gradients, evaluation and training, 2 placements of 6
    assert runs.count("cpu") == 7 * (1 + 2 + 2)


def test_what_was_run_and_the_difference_of_logits_are_told(pair, images):
    proofs = prove(pair[1], pair[0], pair[1].space, images(16), run=2)
    assert [p.ran for p in proofs] == [True, False, False, True, False, False]
    assert [p.logit_gap for p in proofs] == [0.0] + [None] * 5
    change(pair[1], 1, HALVE, after=lambda x: x * 1.5)
    (proof,) = prove(pair[1], pair[0], [], images(16))
    assert not proof.ran and proof.logit_gap > 1e-3
    assert f"{proof.logit_gap:.3g}" in " ".join(proof.problems)


@pytest.mark.parametrize("op", ["max", "avg"])
def test_an_op_that_is_not_the_networks_own_has_other_logits(images, op):
    model = plain()
    proofs = prove(restride(model, images(16), op=op), model, [], images(16))
    assert proofs[0].holds and proofs[0].logit_gap is None


class Stubborn(BasicBlock):
    """Never halves."""

    def forward(self, x_BCHW, exponents=KEEP):
        return super().forward(x_BCHW)


def test_a_network_made_to_be_searched_has_no_original(tiny_net, images):
    net = tiny_net(op="stride")
    proofs = prove(net, None, [net.space[0], net.space[35]], images(8))
    assert [p.holds for p in proofs] == [True] * 3 and proofs[0].logit_gap is None
    net.blocks[1].__class__ = Stubborn
    problems = prove(net, None, [net.space[0]], images(8))[1].problems
    assert problems == ("block 1 makes (8, 8) into (8, 8) at a site of (1, 1)",)


def test_unequal_placements_are_proved_alike(pair, images):
    model, net = pair
    space = dataclasses.replace(net.space, axes="h,w")
    proofs = prove(net, model, space, images(16), run=4)
    assert len(proofs) == 36 and all(p.holds for p in proofs)
    net.blocks[3]._programs[(1, 0)] = net.blocks[3]._programs[(0, 1)]
    wrong = {p.placement for p in prove(net, model, space, images(16), run=1) if not p.holds}
    assert wrong == {p for p in space if p.at(3) == (1, 0)}


def test_a_long_proof_shows_how_far_it_is(pair, images):
    class Counted(SilentProgress):
        @contextlib.contextmanager
        def bar(self, label, total):
            bars.append((label, total))
            yield lambda done, _: steps.append(done)

    bars, steps = [], []
    prove(pair[1], pair[0], pair[1].space, images(16), run=1, progress=Counted())
    assert bars == [("proof", 6)] and steps == [1, 2, 3, 4, 5, 6]
