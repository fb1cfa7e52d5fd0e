"""The page in a real browser, at the width of a desktop and of a phone, in light and dark: nothing is missing, nothing
overflows, nothing is fetched, and the browser has no complaint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from launch import report
from tests.launch.page.browser import Opened, chromium, needs_chromium
from tests.rl.study.made_runs import made_run, made_sample

pytestmark = needs_chromium

HOSTILE = "</script><script>alert(1)</script> <b>bold</b> {{ jinja }} 🙂🙂 & \u2028 " + "long" * 80


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rewards with two algorithms and two seeds; one is ArmoRM, one a judge, and one writes hostile text."""
    folder = tmp_path_factory.mktemp("study")
    for place, reward in enumerate(("prm", "orm", "armorm_tiny", "pairjudge_tiny_knockout")):
        for algorithm in ("grpo", "ppo"):
            for seed in (1, 2):
                choices = {"reward": reward, "algorithm": algorithm}
                ends = [0.45, 0.9, 0.8 - 0.05 * place + seed / 100]
                run = made_run(folder / f"{algorithm}_{reward}_{seed}", seed, choices, accuracies=ends, samples=16)
                rewritten(run, reward, place)
    (folder / "empty").mkdir()
    page = folder / "page.html"
    assert report.main([*map(str, sorted(folder.iterdir())), "--html", str(page)]) == 0
    return page


def rewritten(run: Path, reward: str, place: int) -> None:
    """Give a run's samples the scores that its reward gives."""
    rng = np.random.default_rng(place)
    lines = []
    for number, line in enumerate((run / "samples.jsonl").read_text().splitlines()):
        row = json.loads(line)
        value = float(rng.normal(0.5 + 0.2 * (row["correct"] or 0) * place, 0.2))
        if reward == "orm":
            row["score"] = {"value": value} if number % 16 else {"failure": "the response is empty"}
            row["response"] = HOSTILE if number % 16 == 1 else row["response"]
        elif reward == "armorm_tiny":
            row["score"] = {
                "value": value,
                "parts": {"reward/helpful": value, "reward/correct": -value, "gate/correct": 1},
            }
        elif reward.startswith("pairjudge"):
            met = {1: 0.0, 2: 0.0, 4: 0.0} if number % 8 == 0 else {}
            met |= {number % 8 - 1: 0.0} if number % 2 else {}
            met = {other: 1 - points for other, points in met.items()} if number % 8 == 0 else met
            row["score"] = {"value": value, "parts": {"winner": 0.0, "judgements": 7.0, "no_verdict": 0.0}}
            row["score"] |= {"matches": {str(other): points for other, points in met.items()}} if met else {}
        lines.append(json.dumps(row, ensure_ascii=False))
    (run / "samples.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(("width", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_the_page_is_whole_at_every_width_and_theme(file: Path, browser: Browser, width: str, scheme: str) -> None:
    opened = Opened(browser, file, width, scheme)
    opened.read_through()
    page = opened.page
    assert opened.complaints == []
    assert opened.asked == [file.as_uri()], "everything is in the one file"
    assert opened.overflow() == 0 and opened.sticking_out() == []
    assert page.locator(".sentences li").count() == 5
    for name in ("summary", "curves", "figures", "prediction", "samples", "configuration", "runs"):
        section = page.locator(f"#{name}")
        assert section.is_visible() and len(section.inner_text()) > 40, name
    charts = page.locator(".chart")
    assert charts.count() >= 8 + 8 + 4
    empty = [
        one.get_attribute("data-of") for one in charts.all() if not one.locator("svg [role=graphics-symbol]").count()
    ]
    assert empty == [], "every chart has marks"
    assert (
        not page.locator("main").get_by_text("undefined").count()
        and not page.locator("main").get_by_text("NaN").count()
    )
    assert page.locator("#left-out").is_visible()
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(file: Path, browser: Browser, scheme: str) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for text, and 3 to 1 for the lines of charts."""
    opened = Opened(browser, file, scheme=scheme)
    colours = opened.page.evaluate(
        """() => Object.fromEntries(['paper', 'ink', 'muted', 'accent', 'truth', 'proxy',
            ...Array(8).keys()].map((name) => {
                const probe = document.body.appendChild(document.createElement('i'));
                probe.style.color = `var(--${typeof name === 'number' ? 'c' + name : name})`;
                return [name, getComputedStyle(probe).color.match(/[0-9]+/g).map(Number)];
            }))"""
    )
    paper = luminance(colours.pop("paper"))
    for name, colour in colours.items():
        bright, dark = sorted((luminance(colour), paper), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= (4.5 if name in ("ink", "muted", "accent") else 3.0), name
    opened.context.close()


def luminance(colour: list[int]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (one / 255 for one in colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_choices_redraw_the_curves_and_the_keyboard_reaches_them(file: Path, browser: Browser) -> None:
    opened = Opened(browser, file)
    page = opened.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#curves").scroll_into_view_if_needed()
    page.locator("input[name=axis][value=samples]").focus()
    for title in ("hours", "KL from the start (nats per token)"):
        page.keyboard.press("ArrowRight")
        page.locator("[data-chart=truth] svg").get_by_text(title, exact=True).wait_for(timeout=5000)
    panel = page.locator("figure[data-setting='0']")
    assert panel.is_visible()
    page.locator("#shown input").first.focus()
    page.keyboard.press("Space")
    assert not panel.is_visible()
    page.locator("#theme").select_option("dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert opened.complaints == []
    opened.context.close()


def test_samples_are_filtered_and_searched(file: Path, browser: Browser) -> None:
    opened = Opened(browser, file)
    page, count = opened.page, opened.page.locator("#count")
    total = int(count.inner_text().split()[0])
    shown = page.locator(".card")
    assert shown.count() == 25 < total
    page.locator("#more").click()
    assert shown.count() == 50
    page.locator("[name=kind]").select_option("paid though wrong")
    assert 0 < int(count.inner_text().split()[0]) < total
    assert all("✗ wrong" in text for text in shown.all_inner_texts())
    page.locator("#filters").evaluate("(form) => { form.reset(); form.dispatchEvent(new Event('input')); }")
    page.locator("[name=text]").fill("alert(1) JINJA")
    assert 0 < int(count.inner_text().split()[0]) < total
    assert "</script><script>alert(1)</script> <b>bold</b>" in shown.first.inner_text()
    page.locator("[name=text]").fill("no response says this")
    assert count.inner_text() == f"0 of {total} samples" and shown.count() == 0
    assert opened.complaints == []
    opened.context.close()


def test_a_sample_shows_steps_parts_and_matches(file: Path, browser: Browser) -> None:
    opened = Opened(browser, file, "phone")
    page = opened.page

    def only(setting: str) -> None:
        page.locator("[name=setting]").select_option(label=setting)

    only("prm grpo")
    steps = page.locator(".card").first.locator(".step")
    assert steps.count() == 3 and float(steps.first.locator("sub").inner_text()) <= 1
    assert "color(" in steps.first.evaluate("(one) => getComputedStyle(one).backgroundColor")
    only("armorm_tiny grpo")
    objectives, others = page.locator(".card").first.locator(".bars").all()
    assert objectives.locator("i").count() == 2 and objectives.is_visible() and not others.is_visible()
    only("pairjudge_tiny_knockout grpo")
    matches = page.locator(".card details", has_text="The judge's").first
    matches.locator("summary").click()
    matches.locator("tbody tr").first.wait_for(timeout=5000)  # the browser reports an opened section a moment later
    assert "beat response" in matches.inner_text() and matches.locator("tbody tr").count() == 8
    page.locator("[name=setting]").select_option("")
    page.locator("[name=kind]").select_option("rewards disagree")
    assert page.locator(".card").first.locator(".bars i").count() >= 2
    only("orm grpo")
    page.locator("[name=kind]").select_option("failed")
    assert "not scored: the response is empty" in page.locator(".card").first.inner_text()
    assert opened.complaints == [] and opened.overflow() == 0 and opened.sticking_out() == []
    opened.context.close()


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "one run": [{}],
    "two tasks": [{}, {"choices": {"task": "sums"}, "config": {"task": {}}}],
    "a reward that leaves [0, 1]": [{"rewards": [-3.0, 2.0, 7.5]}, {"choices": {"reward": "orm"}}],
    "many settings": [{"config": {"learner": {"learning_rate": n / 1e4}}} for n in range(1, 20)],
    "different lengths": [{"accuracies": [0.1, 0.9]}, {"seed": 2, "accuracies": [0.2] * 9}],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_studies_have_whole_pages_too(tmp_path: Path, browser: Browser, variant: str) -> None:
    runs = [made_run(tmp_path / f"run{number}", **changed) for number, changed in enumerate(VARIANTS[variant])]
    assert report.main([*map(str, runs), "--html", str(tmp_path / "page.html")]) == 0
    opened = Opened(browser, tmp_path / "page.html", "phone")
    opened.read_through()
    assert opened.complaints == [] and opened.overflow() == 0 and opened.sticking_out() == []
    opened.context.close()


def test_runs_that_lack_nearly_everything_have_a_page(tmp_path: Path, browser: Browser) -> None:
    """Only evaluations of the truth: no reward, no updates, no configuration."""
    run = made_run(tmp_path / "old_seed1")
    for name in ("origin.json", "status.json", "config.yaml"):
        (run / name).unlink()
    rows = [{"update": update, "seconds": 1.0 * update, "accuracy/held_out": 0.5} for update in (0, 5)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert report.main([str(run), "--html", str(tmp_path / "page.html")]) == 0
    opened = Opened(browser, tmp_path / "page.html")
    opened.read_through()
    assert opened.complaints == []
    opened.page.locator("input[value=kl]").check()
    opened.page.get_by_text("No KL was measured.").first.wait_for(timeout=5000)
    opened.context.close()


def test_a_sample_of_a_run_is_made_as_a_run_writes_it() -> None:
    row = made_sample(0, np.random.default_rng(0))
    assert [row["response"][start:end] for start, end in row["score"]["spans"]][-1].startswith("The answer is")
