// `state` and the address hold the reader's choices; `show` updates the page to them. The script
// shows, moves and hides what the page and its data hold. It formats no numbers and writes no words.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
// Cards, tables and confusions are HTML with escaped names; `details` are values by "model/dataset".
const { tables, confusions, hovers, cards, neurons: neuronValues, ...details } = await unpacked("details");
const charts = read("charts");
const by = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

/** Make an element with attributes and children; children are elements or text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") element.addEventListener("click", value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Copy the content of a template of the page. */
const copied = (id) => by(id).content.firstElementChild.cloneNode(true);

/** Put texts into the slots of a phrase. */
const phrase = (name, texts = {}) => data.phrases[name].replaceAll(/\{(\w+)\}/g, (_, slot) => texts[slot]);

/** Return a function from the number of a stretch to its HTML: its forms, with the values in their slots. */
function stretches({ forms, values, orders, stretches: places }) {
  const used = forms.map(() => 0);
  const starts = places.map((place) => {
    const start = [...used];
    for (const form of orders[place]) used[form] += 1;
    return start;
  });
  return (at) => {
    const next = [...starts[at]];
    return orders[places[at]].map((form) => {
      const row = next[form]++;
      return forms[form].replaceAll(/\{(\d+)\}/g, (_, slot) => values[form][slot][row]);
    }).join("");
  };
}

const cardOf = Object.fromEntries(Object.entries(cards).map(([model, packed]) => [model, stretches(packed)]));

// The state, and the address that holds it.
const state = { ...data.chosen, shown: data.strategies.filter(([, , shown]) => shown).map(([name]) => name), neuron: null };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("k") && !given.has("neuron")) return;
  const at = (names, name) => names.includes(name) ? names.indexOf(name) : null;
  state.model = at(data.models, given.get("model")) ?? state.model;
  state.dataset = at(data.datasets, given.get("data")) ?? state.dataset;
  if (data.metrics.some(([name]) => name === given.get("metric"))) state.metric = given.get("metric");
  if (Number(given.get("k")) > 0) state.k = Number(given.get("k"));
  if (given.has("kept")) state.shown = given.get("kept").split(",").filter((name) => data.strategies.some(([known]) => known === name));
  if (/^\d+$/.test(given.get("neuron") ?? "")) state.neuron = Number(given.get("neuron"));
}

function writeAddress() {
  const held = new URLSearchParams({ model: data.models[state.model] ?? "" });
  if (data.datasets.length) {
    held.set("data", data.datasets[state.dataset]);
    held.set("metric", state.metric);
    held.set("k", state.k);
    held.set("kept", state.shown.join(","));
  }
  if (state.neuron !== null) held.set("neuron", state.neuron);
  history.replaceState(null, "", "#" + held);
}

const pairTitle = (dataset) => phrase("pair", { model: data.models[state.model], dataset: data.datasets[dataset] });
const pair = (dataset = state.dataset) => `${state.model}/${dataset}`;
const curve = (dataset = state.dataset, metric = state.metric) => data.curves[`${pair(dataset)}/${metric}`];
const hoversOf = (dataset) => hovers[`${pair(dataset)}/${state.metric}`];
const ks = () => [...new Set((curve() ?? anyCurve())?.rows.map((row) => row.k) ?? [])].sort((a, b) => a - b);
const anyOf = (values) => Object.entries(values).find(([key]) => key.startsWith(pair() + "/"))?.[1];
const anyCurve = () => anyOf(data.curves);
const countText = (k) => (curve() ?? anyCurve()).counts[k];
const strategyLabel = (name) => data.strategies.find(([known]) => known === name)?.[1] ?? name;
const metricLabel = (name) => data.metrics.find(([known]) => known === name)?.[1] ?? name;

// Charts: the still picture stays until the live chart is drawn.
const views = new Map();

/** Reserve the height of the picture, so that nothing moves when the chart is drawn. */
function reserve(box, picture) {
  if (picture) box.style.setProperty("--drawn", `${Math.ceil(picture.viewBox.baseVal.height)}px`);
}

const ERRORS = 1; // log errors only: a layer without rows, as of a hidden strategy, is fine

async function draw(box, spec) {
  const target = make("div", { class: "live" });
  box.append(target);
  const drawn = box.querySelector(".still svg")?.viewBox.baseVal.width ?? spec.width;
  const width = typeof spec.height === "number" ? "container" : Math.max(80, box.clientWidth - (drawn - spec.width));
  const { view } = await window.vegaEmbed(target, { ...spec, width }, { actions: false, renderer: "svg", ast: true, tooltip: { theme: "custom" }, logLevel: ERRORS });
  box.classList.add("drawn");
  return view;
}

/** Run an action once, when the box comes near the window. */
function whenNear(box, action) {
  const observer = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      observer.disconnect();
      action();
    }
  }, { rootMargin: "400px" });
  observer.observe(box);
}

/** Return the texts at the pointer without those of hidden strategies. */
const hoverRows = (hovers, shown) => hovers.map(({ from, to, title, texts }) => {
  const visible = texts.filter(([strategy]) => !strategy || !shown || shown.includes(strategy));
  return { from, to, text: { title, ...Object.fromEntries(visible.map(([, label, text]) => [label, text])) } };
});

const shownRows = (curve) => curve.rows.filter((row) => state.shown.includes(row.strategy));

/** Describe a curve at the chosen k, for readers who do not see the chart. */
function described(title, dataset) {
  const at = hoversOf(dataset)?.find(({ k }) => k === state.k);
  if (!at) return phrase("nothing measured", { title });
  const values = at.texts.filter(([strategy]) => state.shown.includes(strategy)).map(([, label, text]) => phrase("value", { label, text }));
  const { start, counts } = curve(dataset);
  return phrase("described", { title, start, k: counts[state.k], values: values.join(", ") });
}

async function refresh(view, rows, settings = {}) {
  for (const [name, values] of Object.entries(rows)) view.data(name, values);
  for (const [name, value] of Object.entries(settings)) view.signal(name, value);
  await view.runAsync();
}

let exploring = null;

async function showExplorer() {
  const box = document.querySelector('[data-chart="explorer"]');
  if (!box) return;
  const own = curve();
  const title = pairTitle(state.dataset);
  const note = by("explorer-note");
  const metric = metricLabel(state.metric);
  by("explorer-title").textContent = title;
  note.textContent = own ? phrase("note", { metric, size: own.size, note: note.dataset.note }) : phrase("unmeasured", { metric });
  box.setAttribute("aria-label", described(title, state.dataset));
  exploring ??= draw(box, charts.explorer.spec).then((view) => {
    view.addEventListener("click", (event) => {
      const x = view.scale("x").invert(window.vegaX?.(event, view) ?? event.offsetX - view.origin()[0]);
      const nearest = ks().reduce((best, k) => Math.abs(k - x) < Math.abs(best - x) ? k : best);
      change({ k: nearest });
    });
    return view;
  });
  const view = await exploring;
  const rows = own ? chartRows(state.dataset) : { curves: [], levels: [], chosen: [{ k: state.k }], hover: [] };
  await refresh(view, rows, { percent: state.metric !== "silhouette", ticks: own?.ticks ?? [] });
}

/** Return all rows that the chart of a dataset's curve draws. */
const chartRows = (dataset) => ({
  curves: shownRows(curve(dataset)), levels: curve(dataset).levels, chosen: [{ k: state.k }], hover: hoverRows(hoversOf(dataset), state.shown),
});

const panels = new Map();

function showPanels() {
  const box = by("panels");
  if (!box) return;
  if (!box.children.length) {
    data.datasets.forEach((name, at) => {
      const figure = copied("panel");
      const [chart, button] = [figure.lastElementChild, figure.querySelector("button")];
      chart.className = "chart";
      button.textContent = name;
      button.addEventListener("click", () => change({ dataset: at }));
      reserve(chart, document.querySelector("#panels-plain .still svg"));
      box.append(figure);
      panels.set(at, { chart, figure, view: null });
      whenNear(figure, () => {
        const panel = panels.get(at);
        panel.draw = () => draw(chart, smallSpec(at));
        fillPanel(at, panel);
      });
    });
  }
  panels.forEach((panel, at) => fillPanel(at, panel));
}

function smallSpec(dataset) {
  const first = Object.keys(charts).find((name) => name.startsWith("panel-"));
  return { ...charts[first].spec, datasets: chartRows(dataset) };
}

async function fillPanel(at, panel) {
  const own = curve(at);
  panel.figure.hidden = !own;
  panel.figure.classList.toggle("current", at === state.dataset);
  if (!own) return;
  panel.chart.setAttribute("aria-label", described(pairTitle(at), at));
  panel.view ??= panel.draw?.();
  if (panel.view) await refresh(await panel.view, chartRows(at), { percent: state.metric !== "silhouette", ticks: own.few });
}

function drawRest() {
  for (const box of all("[data-chart]")) {
    const name = box.dataset.chart;
    if (name === "explorer" || name.startsWith("panel-")) continue;
    whenNear(box, () => {
      const spec = { ...charts[name].spec, datasets: { ...charts[name].spec.datasets, ...chosenRows(name) } };
      views.set(name, draw(box, spec).then((view) => {
        if (name.startsWith("importance-")) {
          view.addEventListener("click", (event, item) => {
            if (item?.datum?.neuron !== undefined) change({ neuron: item.datum.neuron }, "card");
          });
        }
        return view;
      }));
      nameChoice(name);
    });
  }
}

function chosenRows(name) {
  if (charts[name].hovers) return { hover: hoverRows(charts[name].hovers) };
  if (!name.startsWith("importance-")) return charts[name].choices?.[pair()] ?? {};
  const model = name.split("-")[1];
  const { rank, total_overlap } = neuronValues[model];
  const { drop, low, high } = details[`${model}/${state.dataset}`] ?? {};
  if (!drop) return { neurons: [], chosen: [] };
  const rows = drop.map((accuracy_drop, neuron) => ({
    neuron, rank: rank[neuron], total_overlap: total_overlap[neuron], accuracy_drop, low: low[neuron], high: high[neuron],
  })).filter((row) => row.total_overlap !== null).sort((a, b) => a.total_overlap - b.total_overlap);
  const chosen = rows.filter((row) => row.neuron === state.neuron && Number(model) === state.model);
  return { neurons: rows, chosen: chosen.length ? chosen : rows.slice(0, 1) };
}

async function showChoices() {
  for (const [name, view] of views) {
    if (name.startsWith("key-")) continue;
    const rows = chosenRows(name);
    if (Object.keys(rows).length) await refresh(await view, rows);
    nameChoice(name);
  }
}

/** Name the choice in the heading and the description of a chart that follows it. */
function nameChoice(name) {
  const { choices, alts } = charts[name];
  const heading = by(name)?.querySelector("h3");
  if (!heading || !(choices || alts)) return;
  const [model, dataset] = [data.models[state.model], data.datasets[state.dataset]];
  const title = heading.dataset.title ??= heading.textContent;
  heading.textContent = phrase(choices ? "chosen pair" : "chosen dataset", { title, model, dataset });
  if (!alts) return;
  const alt = alts[choices ? pair() : `${name.split("-")[1]}/${state.dataset}`] ?? phrase("unmeasured", { metric: heading.textContent });
  document.querySelector(`[data-chart="${name}"]`).setAttribute("aria-label", alt);
}

// The table at the chosen k.
function showTable() {
  const box = by("at");
  if (!box) return;
  const here = tables[`${pair()}/${state.metric}`] ?? tables[pair()] ?? anyOf(tables);
  const [caption, rows] = here[state.k] ?? [phrase("no table", { model: data.models[state.model], dataset: data.datasets[state.dataset] }), ""];
  box.querySelector("caption span").textContent = caption;
  box.querySelector("thead tr").innerHTML = here.headings;
  box.querySelector("tbody").innerHTML = rows;
  const hidden = new Set(data.strategies.map(([name]) => name).filter((name) => !state.shown.includes(name)));
  for (const row of all("tbody tr", box)) if (hidden.has(row.cells[0].dataset.value)) row.remove();
  makeSortable(box);
}

function showConfusions() {
  const box = by("confusion-lists");
  if (!box) return;
  const here = confusions[pair()] ?? {};
  const lists = state.shown.map((name) => here[`${name}/${state.k}`]).filter((list) => list);
  box.innerHTML = lists.join("");
  by("uncounted").hidden = lists.length > 0;
}

/** Offer a copy of the neurons that each strategy keeps at this k. */
function showTake() {
  const box = by("take");
  const orders = details[pair()]?.orders ?? {};
  const names = state.shown.filter((name) => name in orders);
  if (!box) return;
  box.hidden = !names.length;
  by("takes").replaceChildren(...names.map((name) => {
    const kept = phrase("kept", { count: countText(state.k), label: strategyLabel(name) });
    const button = copied("take-button");
    button.textContent = phrase("copy kept", { kept });
    button.addEventListener("click", () => copy(JSON.stringify(orders[name].slice(0, state.k)), by("taken"), phrase("kept copied", { kept })));
    return button;
  }));
}

// One neuron.
const neurons = () => neuronValues[state.model];

const shownNeuron = () => Math.min(state.neuron ?? neurons().rank.indexOf(1), neurons().rank.length - 1);

function showNeuron() {
  const finder = by("finder");
  if (!finder) return;
  const own = neurons();
  finder.hidden = !own;
  if (!own) return;
  if (!by("card-shown")) by("card").append(copied("frame"));
  const card = by("card-shown");
  card.innerHTML = cardOf[state.model](shownNeuron());
  enable(all(".near button", card));
}

// The text in the search field, unless it is the number of the shown neuron.
let sought = "";
const MATCHES = 12; // listed neurons, at most
const plainly = (text) => text.normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase();

/**
 * Find the neurons with the text in one of their closest words or classes: neuron, name, its source and its score.
 * Names that equal the text come first, then names with it as a word, then names with it as part of a word; each by score.
 */
function search(text) {
  const best = new Map();
  const wanted = plainly(text);
  const nearness = (name) => name === wanted ? 3 : name.split(/[^\p{L}\p{N}]+/u).includes(wanted) ? 2 : name.includes(wanted) ? 1 : 0;
  const better = (a, b) => b.near - a.near || b.score - a.score || a.neuron - b.neuron;
  for (const [at, source] of [...data.datasets, "words"].entries()) {
    const { names = [], words = [] } = details[pair(at)] ?? {};
    const fits = names.map((name) => nearness(plainly(name)));
    words.forEach((closest, neuron) => {
      for (const [word, score, scoreText] of closest) {
        const match = { neuron, name: names[word], source, score, scoreText, near: fits[word] };
        if (match.near && (!best.has(neuron) || better(match, best.get(neuron)) < 0)) best.set(neuron, match);
      }
    });
  }
  return [...best.values()].sort(better);
}

function showFound() {
  if (!by("finder") || !neurons()) return;
  if (sought === "" && document.activeElement !== by("neuron")) by("neuron").value = shownNeuron();
  const number = /^[-+]?\d+([.,]\d*)?$/.test(sought);
  const matches = sought && !number ? search(sought) : [];
  by("neuron").setAttribute("aria-invalid", String(number));
  const last = neurons().rank.length - 1;
  const kind = !matches.length ? "not found" : matches.length === 1 ? "one found" : matches.length > MATCHES ? "many found" : "found";
  by("found-said").textContent = !sought ? ""
    : phrase(number ? "no neuron" : kind, { text: sought, last, neuron: shownNeuron(), count: matches.length, shown: MATCHES });
  const held = by("found").contains(document.activeElement);
  by("found").replaceChildren(...matches.slice(0, MATCHES).map(({ neuron, name, source, scoreText }) => {
    const item = copied("match");
    const [button, score] = [item.querySelector("button"), item.querySelector("small")];
    button.prepend(phrase("match", { neuron, name, source }));
    score.textContent = scoreText;
    if (neuron === shownNeuron()) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => change({ neuron }, "found"));
    return item;
  }));
  if (held) (by("found").querySelector("[aria-current]") ?? by("neuron")).focus();
}

/** Update the page to the search field. */
function seek(text) {
  const number = /^\d+$/.test(text) && Number(text) < neurons().rank.length;
  sought = number ? "" : text;
  if (number) change({ neuron: Number(text) });
  else show();
}

/** Move the focus with the arrow keys between the search field and the list below it. */
function walkFound(event) {
  const stops = [by("neuron"), ...all("#found button")];
  const at = stops.indexOf(document.activeElement);
  if (event.key === "Escape" && sought) {
    seek("");
    by("neuron").value = shownNeuron();
    by("neuron").select();
  } else if (at >= 0 && ["ArrowDown", "ArrowUp"].includes(event.key)) {
    const down = event.key === "ArrowDown";
    if (stops.length > 1) stops[Math.min(stops.length - 1, Math.max(0, at + (down ? 1 : -1)))].focus();
    else if (!sought) {
      step(down ? -1 : 1, "index");
      by("neuron").value = shownNeuron();
    }
  } else return;
  event.preventDefault();
}

/** Let buttons of cards lead to their neurons; without scripts they are text. */
function enable(buttons) {
  for (const button of buttons) button.disabled = false;
}

/** Show the neuron of a button in a card, which is of the card's own model. */
function follow(event) {
  const button = event.target.closest("button[data-neuron]");
  if (!button) return;
  const model = button.closest(".of-model")?.dataset.model ?? state.model;
  change({ model: Number(model), neuron: Number(button.dataset.neuron) }, "card");
}

function step(steps, walk = document.querySelector('input[name="walk"]:checked').value) {
  const { rank } = neurons();
  const now = shownNeuron();
  const count = rank.length;
  const next = walk === "rank" ? rank.indexOf(Math.min(count, Math.max(1, rank[now] + steps))) : Math.min(count - 1, Math.max(0, now + steps));
  change({ neuron: next });
}

// Tables: sorting, and copies with all digits and the names of the columns.
function makeSortable(box) {
  const headings = all("thead th", box);
  headings.forEach((heading, column) => {
    heading.replaceChildren(make("button", { type: "button", click: () => sort(box, column) }, heading.textContent));
  });
  if (sorted.has(box) && headings[sorted.get(box).column]) order(box);
}

const sorted = new Map(); // by table: column and direction

function sort(box, column) {
  const before = sorted.get(box);
  sorted.set(box, { column, up: before?.column === column ? -before.up : 1 });
  order(box);
}

function order(box) {
  const { column, up } = sorted.get(box);
  all("thead th", box).forEach((heading, at) => {
    if (at === column) heading.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
    else heading.removeAttribute("aria-sort");
  });
  const value = (row) => row.cells[column].dataset.value;
  const number = (text) => text.split(" ").every((part) => part !== "" && !Number.isNaN(Number(part))) ? parseFloat(text) : null;
  const rows = [...box.querySelector("tbody").rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const [m, n] = [number(x), number(y)];
    return up * (m === null || n === null ? x.localeCompare(y, "en", { numeric: true }) : m - n);
  });
  box.querySelector("tbody").append(...rows);
}

/** Return a table for other programs: all digits, with one name for each column and two for an interval. */
function whole(box) {
  const names = all("thead th", box).map((head) => head.dataset.name?.split(" ") ?? [head.textContent]);
  const cellsOf = (row) => [...row.cells].flatMap((cell, at) => {
    const text = cell.dataset.value ?? cell.textContent;
    return names[at].length === 1 ? [text] : text ? text.split(" ") : ["", ""];
  });
  return [names.flat(), ...all("tbody tr", box).map(cellsOf)].map((cells) => cells.map(harmless));
}

/** Mark a text that a spreadsheet would take for a formula, so that it stays text there; keep numbers. */
const harmless = (text) => /^\s*[=+\-@＝＋－＠]|^[\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;

const grid = (box, pick) => all("tr", box).map((row) => [...row.cells].map(pick));
const quoted = (text) => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
const csv = (box) => whole(box).map((row) => row.map(quoted).join(",")).join("\n") + "\n";
const tabs = (box) => whole(box).map((row) => row.map((text) => text.replaceAll(/\s+/g, " ")).join("\t")).join("\n") + "\n";
const fileName = (box) => plainly(box.querySelector("caption").textContent).replaceAll(/[^\p{L}\p{N}]+/gu, "-").replaceAll(/^-|-$/g, "").slice(0, 80);

const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "–": "--", "→": "$\\to$", "ρ": "$\\rho$", "×": "$\\times$" };
const tex = (text) => text.replaceAll(/[\\~^&%$#_{}−–→ρ×]/g, (character) => SPECIAL[character] ?? `\\${character}`);

function latex(box) {
  const [head, ...rows] = grid(box, (cell) => tex(cell.textContent));
  const columns = all("thead th", box).map((heading) => heading.classList.contains("number") ? "r" : "l").join("");
  const line = (cells) => `${cells.join(" & ")} \\\\`;
  return [`\\begin{tabular}{${columns}}`, "\\toprule", line(head), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

async function copy(text, status, message = phrase("copied")) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  status.textContent = message;
  setTimeout(() => { status.textContent = ""; }, 2000);
}

function save(text, name) {
  const link = make("a", { href: "data:text/csv;charset=utf-8," + encodeURIComponent(text), download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function listenToTools(box) {
  const status = box.querySelector(".tools [role=status]");
  const tools = {
    copy: () => copy(tabs(box), status),
    save: () => save(csv(box), `${fileName(box)}.csv`),
    latex: () => copy(latex(box), status),
  };
  for (const button of all("[data-tool]", box)) button.addEventListener("click", tools[button.dataset.tool]);
}

// Apply a change to the page.
function change(changes, then) {
  Object.assign(state, changes);
  if ("neuron" in changes && then !== "found") sought = "";
  show();
  writeAddress();
  if (then === "card") {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    by("finder").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
    by("card-shown").focus({ preventScroll: true });
  }
}

function show() {
  if (by("controls")) {
    by("model").value = state.model;
    if (by("dataset")) {
      const known = ks();
      if (!known.includes(state.k)) state.k = known.reduce((best, k) => Math.abs(k - state.k) < Math.abs(best - state.k) ? k : best, known[0]);
      by("dataset").value = state.dataset;
      by("metric").value = state.metric;
      by("k").max = known.length - 1;
      by("k").value = known.indexOf(state.k);
      by("k").disabled = known.length < 2;
      by("k-shown").textContent = (curve() ?? anyCurve())?.shares[state.k] ?? "";
      by("k").setAttribute("aria-valuetext", by("k-shown").textContent);
      all('input[name="strategy"]').forEach((box) => { box.checked = state.shown.includes(box.value); });
    }
  }
  const { model, dataset, metric, k, neuron } = state;
  const shown = state.shown.join();
  when("models", [model], () => all(".of-model").forEach((part) => { part.hidden = Number(part.dataset.model) !== model; }));
  when("explorer", [model, dataset, metric, k, shown], showExplorer);
  when("table", [model, dataset, metric, k, shown], showTable);
  when("take", [model, dataset, k, shown], showTake);
  when("confusions", [model, dataset, k, shown], showConfusions);
  when("panels", [model, dataset, metric, k, shown], showPanels);
  when("choices", [model, dataset, neuron], showChoices);
  when("neuron", [model, neuron], showNeuron);
  when("found", [model, neuron, sought], showFound);
}

const last = new Map();

/** Run an action when one of the choices that it depends on has changed. */
function when(name, choices, action) {
  const key = JSON.stringify(choices);
  if (last.get(name) === key) return;
  last.set(name, key);
  action();
}

function listen() {
  const on = (id, event, action) => by(id)?.addEventListener(event, action);
  on("controls", "submit", (event) => event.preventDefault());
  on("model", "change", (event) => change({ model: Number(event.target.value) }));
  on("dataset", "change", (event) => change({ dataset: Number(event.target.value) }));
  on("metric", "change", (event) => change({ metric: event.target.value }));
  on("k", "input", (event) => change({ k: ks()[Number(event.target.value)] }));
  all('input[name="strategy"]').forEach((box) => box.addEventListener("change", () => {
    const shown = all('input[name="strategy"]').filter((input) => input.checked).map((input) => input.value);
    if (shown.length) change({ shown });
    else box.checked = true; // a chart without curves has no axes
  }));
  on("search", "submit", (event) => {
    event.preventDefault();
    document.querySelector("#found button")?.click();
  });
  on("neuron", "input", (event) => seek(event.target.value.trim()));
  on("neuron", "focus", (event) => event.target.select());
  on("neuron", "blur", (event) => { if (!sought) event.target.value = shownNeuron(); });
  on("finder", "keydown", walkFound);
  on("previous", "click", () => step(-1));
  on("next", "click", () => step(1));
  on("card", "keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
    by("card-shown").focus({ preventScroll: true });
  });
  addEventListener("hashchange", () => { readAddress(); show(); });
  on("theme", "click", () => {
    const dark = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = dark;
    try { localStorage.setItem("purescope-theme", dark); } catch { /* the choice lasts for this visit */ }
    nameTheme();
  });
}

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { by("theme").textContent = phrase(isDark() ? "light" : "dark"); };

/** Scroll to the section or neuron that the address names; only now do the charts above have their heights. */
function goToAddress() {
  const name = decodeURIComponent(location.hash.slice(1));
  const [navigation] = performance.getEntriesByType("navigation");
  if (navigation?.type !== "navigate") return; // after "back" or "reload" the browser returns to the reader's position
  const target = name.includes("=") ? state.neuron !== null && by("finder") : by(name);
  if (target) target.scrollIntoView({ behavior: "instant", block: "start" });
}

readAddress();
listen();
nameTheme();
all(".chart").forEach((box) => reserve(box, box.querySelector(".still svg")));
enable(all(".cards h4 button"));
all("#card, .cards").forEach((box) => box.addEventListener("click", follow));
all("[data-table]").forEach((box) => { if (box.id !== "at") makeSortable(box); listenToTools(box); });
show();
drawRest();
goToAddress();
addEventListener("beforeprint", () => all("details").forEach((part) => { part.open = true; }));
removeEventListener("error", window.plainPage);
removeEventListener("unhandledrejection", window.plainPage);
