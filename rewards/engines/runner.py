"""The interface for running a reward model: token sequences, positions in them, and a head that reads the states there.

A family of reward models is a prompt (token ids and positions, `rewards.model_reward`), a head
(`rewards.engines.heads`) and a configuration. How the decoder is run is the same for all of them, on transformers and
on vLLM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor

from rewards.engines.checkpoint import Checkpoint
from rewards.engines.options import ModelOptions

HeadFunction = Callable[[Tensor], Tensor]
"""From the (R, H) final hidden states at R positions to R rows, computed in float32."""


class Head(Protocol):
    """What is computed from a decoder's final hidden states, and which tensors of the checkpoint that needs."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Prefixes of the names of the head's tensors, which do not belong to the decoder."""
        ...

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """The head with its weights on `options.torch_device`. Raises ValueError if the checkpoint lacks them."""
        ...


class Runner(Protocol):
    """A decoder that is loaded at the first call and reads whole batches."""

    def load(self, head: Head) -> Any:
        """Load the weights of decoder and head unless they are already loaded. Raises ValueError as `read` does."""
        ...

    def read(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], head: Head) -> list[Tensor]:
        """The output of `head` for the hidden states at the given positions of each sequence.

        A sequence with P positions gets a float32 tensor on the CPU with P rows, in the order of the positions. Apart
        from rounding, it does not depend on the rest of the batch. Raises ValueError for a checkpoint that cannot be
        loaded.
        """
        ...
