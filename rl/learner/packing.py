"""Pack the rows of a batch into one sequence of tokens, without padding and with each prompt only once.

A prompt's tokens are followed by those of all its responses. Each response attends to its prompt and to itself
(`rl.learner.attention`), so linear layers, norms and the output head read every token exactly once. This module only
computes indices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rl.types import TrainBatch


@dataclass(frozen=True)
class Packed:
    """T tokens of B rows with G different prompts; N of the tokens are to be predicted.

    `prompts` (G, P) and `responses` (B, R) are the positions in the sequence of each prompt's and response's tokens;
    padding points to token 0. `order` brings results at those positions back into the order of the sequence. `predicts`
    is the position that predicts each of the N tokens. A prompt's last token predicts the first token of all its
    responses.
    """

    input_ids: Tensor  # int64 (1, T)
    position_ids: Tensor  # int64 (1, T)
    prompts: Tensor  # int64 (G, P)
    responses: Tensor  # int64 (B, R)
    prompt_of: Tensor  # int64 (B,), the prompt of each row
    visible: Tensor  # bool (B, 1, R, P + R), what a response's token attends to: its prompt, then the response so far
    order: Tensor  # int64 (T,), the index of each token in the concatenation of flattened prompts and responses
    predicts: Tensor  # int64 (N,), positions in the sequence
    targets: Tensor  # int64 (N,), token ids
    cells: Tensor  # int64 (N,), the index of each predicted token in a flattened (B, L) tensor
    shape: tuple[int, int]  # (B, L)

    def spread(self, values: Tensor) -> Tensor:
        """Turn (N,) values of the predicted tokens into a token-aligned (B, L) tensor, 0 elsewhere."""
        flat = values.new_zeros(self.shape[0] * self.shape[1])
        return flat.index_put((self.cells,), values).view(self.shape)


def prompt_lengths(batch: TrainBatch) -> Tensor:
    """The number of tokens before each row's first response token, (B,); the whole row if it has no response token."""
    first = batch.response_mask.int().argmax(dim=1)
    return torch.where(batch.response_mask.any(dim=1), first, batch.attention_mask.sum(dim=1))


def prompt_groups(batch: TrainBatch) -> Tensor:
    """A number for each row's prompt, (B,). Two numbers are equal exactly if the prompts have the same tokens."""
    starts = prompt_lengths(batch).tolist()
    numbers: dict[bytes, int] = {}
    rows = batch.input_ids.cpu().numpy()
    found = [numbers.setdefault(row[:start].tobytes(), len(numbers)) for row, start in zip(rows, starts, strict=True)]
    return torch.tensor(found, dtype=torch.int64)


def packed(batch: TrainBatch) -> Packed:
    """Pack all rows of the batch, on its device. Each row needs at least one token before its first response token."""
    device = batch.input_ids.device
    starts, ends = prompt_lengths(batch).tolist(), batch.attention_mask.sum(dim=1).tolist()
    prompt_of = prompt_groups(batch)
    members: list[list[int]] = [[] for _ in range(int(prompt_of.max()) + 1)]
    for row, prompt in enumerate(prompt_of.tolist()):
        members[prompt].append(row)
    sources: list[Tensor] = []  # for each segment, the indices of its tokens in the flattened batch
    prompt_at: list[Tensor] = []
    response_at: list[Tensor] = [torch.empty(0, dtype=torch.int64)] * len(starts)
    width, place = batch.input_ids.shape[1], 0
    for rows in members:
        start = starts[rows[0]]
        prompt_at.append(torch.arange(place, place + start))
        sources.append(rows[0] * width + torch.arange(start))
        place += start
        for row in rows:
            length = ends[row] - start
            response_at[row] = torch.arange(place, place + length)
            sources.append(row * width + torch.arange(start, ends[row]))
            place += length
    prompts, responses = (pad_sequence(at, batch_first=True) for at in (prompt_at, response_at))
    order = torch.empty(place, dtype=torch.int64)
    for index, at in enumerate(prompt_at):
        order[at] = index * prompts.shape[1] + torch.arange(len(at))
    for row, at in enumerate(response_at):
        order[at] = prompts.numel() + row * responses.shape[1] + torch.arange(len(at))
    # The token in column c is predicted by the token before it: the response's previous token, or the prompt's last.
    predicted = batch.response_mask.cpu().nonzero()
    home, before = predicted[:, 0], predicted[:, 1] - 1
    of_row = torch.tensor(starts)[home]
    ahead = before - of_row
    last = prompts[prompt_of[home], of_row - 1]
    predicts = last if responses.shape[1] == 0 else torch.where(ahead < 0, last, responses[home, ahead.clamp(min=0)])
    cells = home * width + predicted[:, 1]
    source = torch.cat(sources)
    ids = batch.input_ids.flatten().cpu()
    return Packed(
        input_ids=ids[source][None].to(device),
        position_ids=(source % width)[None].to(device),
        prompts=prompts.to(device),
        responses=responses.to(device),
        prompt_of=prompt_of.to(device),
        visible=_visible(torch.tensor(starts), prompts.shape[1], responses.shape[1]).to(device),
        order=order.to(device),
        predicts=predicts.to(device),
        targets=ids[cells].to(device),
        cells=cells.to(device),
        shape=(batch.input_ids.shape[0], width),
    )


def _visible(starts: Tensor, prompt: int, response: int) -> Tensor:
    """(B, 1, R, P + R): the row's whole prompt, and the response up to the token itself."""
    rows = len(starts)
    of_prompt = (torch.arange(prompt) < starts[:, None])[:, None, :].expand(rows, response, prompt)
    of_response = torch.ones(response, response, dtype=torch.bool).tril().expand(rows, response, response)
    return torch.cat([of_prompt, of_response], dim=2)[:, None]
