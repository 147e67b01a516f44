"""Running exported code in a namespace of its own."""

import sys
import types

import pytest
import torch
from safetensors.torch import save_file


@pytest.fixture
def run_code(tmp_path, monkeypatch):
    """Runs the text of a model.py beside a network's weights, where poolsearch cannot be imported."""

    def run(code, state):
        save_file({name: t.contiguous() for name, t in state.items()}, tmp_path / "model.safetensors")
        (tmp_path / "model.py").write_text(code)
        module = types.ModuleType("exported")
        module.__file__ = str(tmp_path / "model.py")
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, "poolsearch", None)
            exec(compile(code, module.__file__, "exec"), module.__dict__)
        return module

    return run


@pytest.fixture(scope="session")
def facts():
    """Makes what a file says beside the network."""
    from poolsearch.exporting.model_card import ModelCard
    from poolsearch.image_size import ImageSize

    def make(spec, placement, stored=32, crop=32, fit="crop", values=None):
        mean, std = ([0.1 * (c % 9 + at) for c in range(spec.channels or 3)] for at in (1, 4))
        names = [f"class {i}" for i in range(spec.classes)]
        return ModelCard(
            spec, placement, 0, names, mean, std, ImageSize.of(stored), ImageSize.of(crop), "run", "a test", fit, values
        )

    return make


@pytest.fixture(scope="session")
def same_maps():
    """Whether a backbone gives the states of a network, joined where several maps are alive, in the sizes it says
    (but for ``slack`` pixels, of stems without padding)."""

    def check(backbone, states, image_size, x, slack=0):
        wanted = [torch.cat([v for v in s if v.dim() == 4], 1) if isinstance(s, tuple) else s for s in states]
        with torch.no_grad():
            found = backbone(x)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        assert [m.shape[1] for m in found] == backbone.channels
        strides = [s if isinstance(s, tuple) else (s, s) for s in backbone.strides]
        sizes = [
            (m.shape[2] - image_size // h, m.shape[3] - image_size // w)
            for m, (h, w) in zip(found, strides, strict=True)
        ]
        assert all(abs(gap) <= slack for gaps in sizes for gap in gaps)

    return check
