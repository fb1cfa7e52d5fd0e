"""One way to run a reward model: token sequences, positions in them, and a head that reads the hidden states there.

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
    """What is read off a decoder's final hidden states, and which tensors of the checkpoint that takes."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """The beginnings of the names of the head's tensors, which are not the decoder's."""
        ...

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """The head with its weights on `options.torch_device`. Raises ValueError if the checkpoint lacks them."""
        ...


class Runner(Protocol):
    """A decoder that is loaded at the first call and reads whole batches."""

    def load(self, head: Head) -> Any:
        """Load the weights of decoder and head, unless they are loaded already. Raises ValueError as `read` does."""
        ...

    def read(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], head: Head) -> list[Tensor]:
        """What `head` makes of the hidden states at the positions of each sequence.

        For a sequence with P positions a float32 tensor on the CPU with P rows, in their order. The numbers do not
        depend on what else is in the batch, beyond rounding. Raises ValueError for a checkpoint that cannot be loaded.
        """
        ...
