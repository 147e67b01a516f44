"""How many bytes of tensors are alive, found by watching the operations that make them."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Inside the block, ``now`` is how many bytes of tensors made there are alive, ``most`` the most there were.

    Works on tensors with and without numbers (the meta device, fake tensors): what counts are their storages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: dict[int, int] = {}

    def ignore(self, x: Tensor) -> None:
        """Count neither ``x`` nor its views.

        Args:
            x: a tensor that was there before, such as an input.
        """
        self._know(x.untyped_storage(), 0)

    def bytes_of(self, state: Any) -> int:
        """How many of the bytes that are alive belong to some tensors.

        Args:
            state: a tensor, or a nest of tensors and other values.

        Returns:
            Bytes; tensors that were to be ignored have none.
        """
        storages = {_key(x.untyped_storage()) for x in tree_leaves(state) if isinstance(x, Tensor)}
        return sum(self._known.get(key, 0) for key in storages)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._know(leaf.untyped_storage(), leaf.untyped_storage().nbytes())
        return out

    def _know(self, storage: torch.UntypedStorage, size: int) -> None:
        key = _key(storage)
        if key in self._known:
            return
        self._known[key] = size
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.pop(key, None)
        self.now -= size


def _key(storage: torch.UntypedStorage) -> int:
    return storage._cdata  # pyright: ignore[reportPrivateUsage]
