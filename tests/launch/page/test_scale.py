"""A large study: 20 runs of 200 updates, 5,000 samples in its page."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from launch import report
from tests.launch.page.browser import Opened, chromium, needs_chromium
from tests.rl.study.made_runs import made_run

FILTERING = """(word) => {
    const field = document.querySelector('[name=text]');
    field.value = word;
    const start = performance.now();
    field.dispatchEvent(new Event('input', { bubbles: true }));
    document.body.offsetHeight;
    return performance.now() - start;
}"""


@pytest.mark.e2e
@needs_chromium
def test_a_large_study_is_quick_and_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In under 20 s and 15 MB; what a reader does takes no time that could be noticed."""
    rng = np.random.default_rng(0)
    for place, reward in enumerate(("verifier", "orm", "prm", "armorm_tiny")):
        for seed in range(1, 6):
            ends = np.linspace(0.45, 0.8 - 0.05 * place, 21) + rng.normal(0, 0.02, 21)
            choices = {"reward": reward}
            made_run(tmp_path / f"{reward}_{seed}", seed, choices, accuracies=ends.tolist(), every=10, samples=96)
    page = tmp_path / "page.html"
    runs = [str(path) for path in sorted(tmp_path.iterdir())]
    start = time.perf_counter()
    assert report.main([*runs, "--html", str(page), "--samples", "5000"]) == 0
    seconds, size = time.perf_counter() - start, page.stat().st_size / 1e6
    with chromium() as browser:
        start = time.perf_counter()
        opened = Opened(browser, page)
        opening = time.perf_counter() - start
        shown = opened.page.locator("#count").inner_text()
        filtering = max(
            opened.page.evaluate(FILTERING, word) for word in ("answer 19", "finds", "nothing says this", "")
        )
        assert opened.complaints == []
    with capsys.disabled():
        print(f"\n{seconds:.1f} s, {size:.1f} MB, {shown}; opens in {opening:.2f} s, filters in {filtering:.0f} ms")
    assert shown == "5000 of 5000 samples"
    assert seconds < 20 and size < 15
    assert opening < 5 and filtering < 200
