"""Statistics of a supernet by prefix, out of the stacks that they are kept in."""

import pytest


def unstacked(supernet):
    """``block/sites/layer/kind`` to the tensor of that prefix alone; sites such as ``1x1_0x0``."""
    tensors = supernet.norms.tensors()
    found = {}
    for name, stack in tensors.items():
        block, *rest = name.split("/")
        if rest == ["prefixes"]:
            continue
        for sites, tensor in zip(tensors[f"{block}/prefixes"].tolist(), stack, strict=True):
            found["/".join([block, "_".join(f"{h}x{w}" for h, w in sites), *rest])] = tensor
    return found


@pytest.fixture
def statistics():
    return unstacked
