from __future__ import annotations

from types import SimpleNamespace

from launch.bench import annotate as bench_annotate
from launch.bench.annotate import WAYS, InProcess, measure
from rl.settings import PolicySettings, RolloutSettings
from tests.tiny import make_tokenizer


class CountingLlm:
    """Counts calls and what they hold; draws nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, bool]] = []

    def generate(self, requests, parameters, use_tqdm):
        self.calls.append((len(requests), parameters.n, not parameters.skip_reading_prefix_cache))
        one = SimpleNamespace(token_ids=[], finish_reason="stop")
        return [SimpleNamespace(outputs=[one] * parameters.n) for _ in requests]


def test_every_way_makes_its_own_calls_for_the_same_continuations(policy, monkeypatch):
    llm = CountingLlm()
    monkeypatch.setattr(bench_annotate, "start_llm", lambda *_, **__: llm)
    monkeypatch.setattr(bench_annotate, "load_tokenizer", lambda *_: make_tokenizer())
    sampler = InProcess(PolicySettings(policy), RolloutSettings())
    calls = []

    def label(sources, number):
        llm.calls.clear()
        drawn = sampler.continue_from([(1,), (2,), (3,)], 4, temperature=1.0, top_p=1.0, seed=number)
        assert [len(group) for group in drawn] == [4, 4, 4]
        calls.append(list(llm.calls))
        return []

    table = measure(sampler, label, [None] * 32)
    assert table.row_count == len(WAYS) == 4
    assert calls[1:] == [[(1, 1, False)] * 12, [(1, 4, False)] * 3, [(3, 4, False)], [(3, 4, True)]]
