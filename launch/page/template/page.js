const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with properties and children; text is never read as HTML. */
function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Columns of numbers become rows, each with its setting and seed.
function rowsOf(columns) {
  const names = Object.keys(columns);
  return columns.run.map((run, index) => {
    const { setting, seed } = data.runs[run];
    const row = { setting: data.settings[setting].label, number: setting, seed };
    for (const name of names) row[name] = columns[name][index];
    return row;
  });
}
const numbers = Object.fromEntries(data.settings.map((one, number) => [one.label, number]));
const tables = {
  evaluations: rowsOf(data.evaluations),
  figures: rowsOf(data.figures),
  stages: data.stages,
  final: data.final,
  prediction: data.prediction,
};

// Charts are drawn when they come into view, and again when a choice changes.
let axis = "samples";
let shown = new Set(data.settings.keys());
const drawn = new Set();

function rowsFor(chart) {
  const { chart: kind, rows, of } = chart.dataset;
  if (kind === "prediction") return tables.prediction.filter((row) => row.figure === of);
  if (kind === "pair") return tables.evaluations.filter((row) => row.number === Number(of));
  if (kind === "figure") return tables.figures.filter((row) => shown.has(row.number)).map((row) => ({
    setting: row.setting, seed: row.seed, update: row.update, value: row[of] }));
  const every = tables[rows].filter((row) => shown.has(row.number ?? numbers[row.setting]));
  return kind === "truth" ? every : rows === "evaluations" ? every : tables[rows];
}

async function draw(chart) {
  const { chart: kind } = chart.dataset;
  const moves = kind === "truth" || kind === "pair";
  const values = rowsFor(chart);
  const there = moves ? values.some((row) => row[axis] !== null) : values.length > 0;
  chart.replaceChildren();
  if (!there) {
    chart.append(make("p", { textContent: moves && axis === "kl" ? "No KL was measured." : "Nothing to show." }));
    return;
  }
  const spec = { ...data.charts[moves ? `${kind}/${axis}` : kind], datasets: { rows: values } };
  if (kind === "pair" && values.every((row) => row.proxy === null)) spec.layer = spec.layer.slice(0, 1);
  const options = { renderer: "svg", actions: false, ast: false };
  await vegaEmbed(chart, spec, options);
  chart.dataset.done = "true";
}

const watch = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && !drawn.has(target)) { drawn.add(target); draw(target); }
  }
}, { rootMargin: "300px" });
$(".chart").forEach((chart) => watch.observe(chart));

function redraw(kinds) {
  for (const chart of $(".chart")) {
    if (!kinds.includes(chart.dataset.chart)) continue;
    drawn.delete(chart);
    watch.unobserve(chart);
    watch.observe(chart);
  }
}
$("input[name=axis]").forEach((input) => input.addEventListener("change", () => {
  axis = input.value;
  redraw(["truth", "pair"]);
}));
$("#shown input").forEach((input) => input.addEventListener("change", () => {
  shown = new Set($("#shown input:checked").map((one) => Number(one.value)));
  $("figure[data-setting]").forEach((one) => { one.hidden = !shown.has(Number(one.dataset.setting)); });
  redraw(["truth", "figure"]);
}));

// The key of a setting: its line, and its symbol on it.
const STYLES = ["solid", "dashed", "dotted", "double"];
const GLYPHS = { circle: "●", square: "■", "triangle-up": "▲", diamond: "◆", cross: "✚",
  "triangle-down": "▼", "triangle-right": "▶", "triangle-left": "◀" };
$(".look").forEach((key) => {
  const { colour, variant, symbol } = data.settings[Number(key.dataset.key)];
  key.style.color = colour;
  key.style.setProperty("--line-style", `${STYLES[variant] === "double" ? 5 : 2}px ${STYLES[variant]}`);
  key.textContent = GLYPHS[symbol];
});

const theme = document.getElementById("theme");
theme.addEventListener("change", () => { document.documentElement.dataset.theme = theme.value; });

// The samples.
const { problems, groups, samples } = data.samples;
const PAGE = 25;
const form = document.getElementById("filters");
let found = [], visible = 0;

function startBrowser() {
  for (const sample of samples) {
    const [problem, answer] = problems[sample.problem];
    sample.find = `${problem}\n${answer ?? ""}\n${sample.text}\n${sample.failure ?? ""}`.toLowerCase();
    sample.setting = data.runs[sample.run].setting;
    sample.seed = data.runs[sample.run].seed;
  }
  const byNumber = (one, other) => Number(one) - Number(other);
  for (const name of ["seed", "update"]) {
    for (const value of [...new Set(samples.map((one) => String(one[name])))].sort(byNumber)) {
      form.elements[name].append(make("option", { value, textContent: value }));
    }
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("more").addEventListener("click", showMore);
  filter();
}

function filter() {
  const asked = Object.fromEntries(new FormData(form));
  const words = asked.text.toLowerCase().split(/\s+/).filter(Boolean);
  const given = ["setting", "seed", "update", "kind"].filter((name) => asked[name] !== "");
  found = samples.filter((one) =>
    given.every((name) => String(one[name]) === asked[name]) &&
    (asked.correct === "" || String(one.correct ?? "none") === asked.correct) &&
    words.every((word) => one.find.includes(word)));
  document.getElementById("cards").replaceChildren();
  document.getElementById("count").textContent = `${found.length} of ${samples.length} samples`;
  visible = 0;
  showMore();
}

function showMore() {
  const cards = document.getElementById("cards");
  cards.append(...found.slice(visible, visible + PAGE).map(card));
  visible = Math.min(found.length, visible + PAGE);
  document.getElementById("more").hidden = visible >= found.length;
}

function figure(value) {
  if (value === undefined || value === null) return "none";
  return value > 0 && value < 0.001 ? "<0.001" : String(Number(value.toPrecision(3)));
}

function card(one) {
  const [problem, answer] = problems[one.problem];
  const verdict = one.correct === undefined ? "not graded" : one.correct ? "✓ right" : "✗ wrong";
  const head = make("header", {},
    make("b", { textContent: one.kind }),
    make("span", { textContent: `${data.settings[one.setting].label}, seed ${one.seed}, update ${one.update}` }),
    make("span", { className: "verdict", textContent: verdict }),
    make("span", { className: "verdict", textContent: one.failure ? `not scored: ${one.failure}` : `reward ${figure(one.value)}` }),
    make("span", { textContent: `${one.tokens} tokens, ended by ${one.end || "?"}` }));
  return make("article", { className: "card" }, head,
    make("p", { textContent: problem }),
    make("div", { className: "response" }, ...(one.steps ? steps(one) : [one.text || "(empty)"])),
    answer === null ? null : make("p", { textContent: `Reference: ${answer}` }),
    one.ranks ? bars(one.ranks, "rank by reward, 1 is the highest of this rollout") : null,
    one.parts ? bars(one.parts, "parts of the reward") : null,
    one.others ? make("details", {}, make("summary", { textContent: "Other figures of the reward" }), bars(one.others, "")) : null,
    one.group === undefined ? null : tournament(one));
}

const values = samples.flatMap((one) => (one.steps ?? []).map((step) => step[2]));
const low = values.reduce((least, value) => Math.min(least, value), 0);
const high = values.reduce((most, value) => Math.max(most, value), 1);

/** The response with each step shaded by its score, which is also written behind it. */
function steps(one) {
  const pieces = [];
  const text = [...one.text]; // spans count characters, not UTF-16 units
  let at = 0;
  for (const [start, end, value] of one.steps) {
    pieces.push(text.slice(at, start).join(""));
    const share = (value - low) / (high - low || 1);
    const strength = Math.round(Math.abs(share - 0.5) * 130);
    const piece = make("span", { className: "step" }, text.slice(start, end).join(""), make("sub", { textContent: figure(value) }));
    piece.style.setProperty("--shade", `color-mix(in srgb, var(${share < 0.5 ? "--low" : "--high"}) ${strength}%, transparent)`);
    pieces.push(piece);
    at = end;
  }
  return [...pieces, text.slice(at).join("")];
}

/** Named numbers as bars from zero. */
function bars(parts, title) {
  const least = Math.min(0, ...Object.values(parts));
  const span = Math.max(0, ...Object.values(parts)) - least || 1;
  const box = make("div", { className: "bars" }, make("em", { textContent: title }));
  for (const [name, value] of Object.entries(parts)) {
    const bar = make("i");
    bar.style.setProperty("--from", `${(100 * (Math.min(0, value) - least)) / span}%`);
    bar.style.setProperty("--size", `${(100 * Math.abs(value)) / span}%`);
    box.append(make("span", { textContent: name }), bar, make("span", { textContent: figure(value) }));
  }
  return box;
}

/** The judge's matches of the whole group: a bracket by rounds where nobody lost twice, and who met whom. */
function tournament(one) {
  const group = groups[one.group];
  const played = group.flatMap((member, a) => Object.entries(member.matches)
    .filter(([b]) => a < Number(b)).map(([b, points]) => ({ a, b: Number(b), points })));
  const name = (place) => `response ${place + 1}${place === one.place ? " (this one)" : ""}`;
  const box = make("details", {}, make("summary", { textContent: `The judge's ${played.length} matches` }));
  box.addEventListener("toggle", () => {
    if (box.childElementCount > 1) return;
    const losses = group.map((_, place) => played.filter(({ a, b, points }) => (a === place && points < 0.5) || (b === place && points > 0.5)).length);
    if (played.every(({ points }) => points !== 0.5) && losses.every((count) => count <= 1) && played.length > 1) {
      const met = (place) => played.filter(({ a, b }) => a === place || b === place).length;
      const rounds = new Map();
      for (const { a, b, points } of played) {
        const [winner, loser] = points > 0.5 ? [a, b] : [b, a];
        rounds.set(met(loser), [...(rounds.get(met(loser)) ?? []), `${name(winner)} beat ${name(loser)}`]);
      }
      box.append(make("ol", {}, ...[...rounds].sort(([r], [s]) => r - s).map(([, lines]) => make("li", { textContent: lines.join("; ") }))));
    }
    const head = make("tr", {}, ...["", "score", "", ...group.map((_, b) => `${b + 1}`), "text"].map((textContent) => make("th", { textContent })));
    const lines = group.map((member, a) => make("tr", { className: a === one.place ? "me" : "" },
      make("th", { textContent: String(a + 1) }),
      make("td", { textContent: figure(member.value) }),
      make("td", { textContent: member.correct === null ? "" : member.correct ? "✓ right" : "✗ wrong" }),
      ...group.map((_, b) => make("td", { textContent: { 1: "won", 0: "lost", 0.5: "tie" }[member.matches[b]] ?? (a === b ? "–" : "") })),
      make("td", { textContent: member.text })));
    const table = make("table", { className: "bracket" }, make("thead", {}, head), make("tbody", {}, ...lines));
    box.append(make("div", { className: "scroll", tabIndex: 0 }, table));
  });
  return box;
}

if (form) startBrowser();
