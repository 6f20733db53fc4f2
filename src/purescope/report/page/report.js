// What is chosen stands in `state`, and in the address; `show` brings the page in line with it.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const data = read("data");
data.details = await unpacked("details"); // what the cards say
const charts = read("charts");
const by = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

/** An element: its attributes, and its children as elements or as text, never as markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "click") element.addEventListener("click", value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Numbers, written as the still page writes them.
const MINUS = "\u2212", NONE = "–";
const none = (value) => value === null || value === undefined || Number.isNaN(value);
const written = (text) => text.replaceAll("-", MINUS);
/** To so many decimals; of two as near the even one, as Python has it, where toFixed takes the larger. */
function fixed(value, digits) {
  const scaled = Math.abs(value) * 10 ** digits;
  const tie = scaled % 1 === 0.5 && Number.isInteger(value * 2 ** (digits + 1));
  return tie && Math.floor(scaled) % 2 === 0 ? (Math.sign(value) * Math.floor(scaled) / 10 ** digits).toFixed(digits) : value.toFixed(digits);
}
const plain = (value, digits = 3) => none(value) ? NONE : written(fixed(value, digits));
const percent = (value, digits = 1) => none(value) ? NONE : written(fixed(100 * value, digits));
function points(value, digits = 2) {
  if (none(value)) return NONE;
  const text = fixed(Math.abs(100 * value), digits);
  return (/[1-9]/.test(text) ? (value < 0 ? MINUS : "+") : "") + text;
}
function short(value, digits = 3) {
  if (none(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 1000) return written(Math.round(value).toLocaleString("en"));
  const places = size ? digits - 1 - Math.floor(Math.log10(size)) : 0;
  return written(String(Number(fixed(value, Math.max(0, places)))));
}
/** How an overlap stands among those of random neurons: `purer` of _numbers.py. */
function purer(below) {
  if (none(below)) return "";
  if (below === 0 || below === 100) return `${below ? "less" : "more"} overlap than every random neuron`;
  const digits = below >= 1 && below <= 99 ? 0 : 1;
  return `less overlap than ${(Math.floor(below * 10 ** digits + 0.5) / 10 ** digits).toFixed(digits)} % of random neurons`;
}
const measure = (value, metric) => metric === "silhouette" ? plain(value) : percent(value);

// The state, and the address that holds it.
const state = { ...data.chosen, shown: data.strategies.filter((one) => one[2]).map((one) => one[0]), neuron: null };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("k") && !given.has("neuron")) return;
  const at = (names, name) => names.includes(name) ? names.indexOf(name) : null;
  state.model = at(data.models, given.get("model")) ?? state.model;
  state.dataset = at(data.datasets, given.get("data")) ?? state.dataset;
  if (data.metrics.some(([name]) => name === given.get("metric"))) state.metric = given.get("metric");
  if (Number(given.get("k")) > 0) state.k = Number(given.get("k"));
  if (given.has("kept")) state.shown = given.get("kept").split(",").filter((name) => data.strategies.some((one) => one[0] === name));
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

const pair = (dataset = state.dataset) => `${state.model}/${dataset}`;
const curve = (dataset = state.dataset, metric = state.metric) => data.curves[`${pair(dataset)}/${metric}`];
const ks = () => [...new Set((curve() ?? anyCurve())?.rows.map((row) => row.k) ?? [])].sort((a, b) => a - b);
const anyCurve = () => Object.entries(data.curves).find(([key]) => key.startsWith(pair() + "/"))?.[1];
const strategyLabel = (name) => data.strategies.find((one) => one[0] === name)?.[1] ?? name;
const metricLabel = (name) => data.metrics.find((one) => one[0] === name)?.[1] ?? name;

// Charts: the still picture stays until the live one is drawn.
const views = new Map();

/** Keep as much height free as the picture needs, so that nothing moves when it is drawn. */
function reserve(box, picture) {
  if (picture) box.style.setProperty("--drawn", `${Math.ceil(picture.viewBox.baseVal.height)}px`);
}

const ERRORS = 1; // a layer without rows, as when a strategy is switched off, is no matter

async function draw(box, spec) {
  const target = make("div", { class: "live" });
  box.append(target);
  const drawn = box.querySelector(".still svg")?.viewBox.baseVal.width ?? spec.width;
  const width = typeof spec.height === "number" ? "container" : Math.max(80, box.clientWidth - (drawn - spec.width));
  const { view } = await window.vegaEmbed(target, { ...spec, width }, { actions: false, renderer: "svg", ast: true, tooltip: { theme: "custom" }, logLevel: ERRORS });
  box.classList.add("drawn");
  return view;
}

/** The view of a box, drawn when the box comes near the window. */
function whenNear(box, action) {
  const seen = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) {
      seen.disconnect();
      action();
    }
  }, { rootMargin: "400px" });
  seen.observe(box);
}

/** What the pointer meets: for each k all that is drawn there, in words. */
function hoverRows(rows, levels, metric) {
  const unit = metric === "silhouette" ? "" : " %";
  const places = [...new Set(rows.map((row) => row.k))].sort((a, b) => a - b);
  return places.map((k, at) => {
    const told = { title: `${k.toLocaleString("en")} neurons kept` };
    for (const row of rows.filter((each) => each.k === k)) {
      const ends = none(row.low) ? "" : ` (${measure(row.low, metric)} to ${measure(row.high, metric)})`;
      told[strategyLabel(row.strategy) + (row.strategy === "random" ? ", median" : "")] = `${measure(row.value, metric)}${unit}${ends}`;
    }
    for (const level of levels) told[level.name] = `${measure(level.value, metric)}${unit}`;
    return { from: at ? (places[at - 1] + k) / 2 : null, to: at < places.length - 1 ? (k + places[at + 1]) / 2 : null, told };
  });
}

function rowsOf(one) {
  return one.rows.filter((row) => state.shown.includes(row.strategy));
}

function described(one, metric) {
  const unit = metric === "silhouette" ? "" : " %";
  const here = rowsOf(one).filter((row) => row.k === state.k);
  const told = here.map((row) => `${strategyLabel(row.strategy)} ${measure(row.value, metric)}${unit}`);
  const full = one.full.value === undefined ? "" : `All ${one.neurons} neurons: ${measure(one.full.value, metric)}${unit}. `;
  return `${metricLabel(metric)}. ${full}At ${state.k}: ${told.join(", ")}.`;
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
  const one = curve();
  by("explorer-title").textContent = `${data.models[state.model]} on ${data.datasets[state.dataset]}`;
  by("explorer-note").textContent = one
    ? `${metricLabel(state.metric)}; ${one.images.toLocaleString("en")} images, ${one.classes.toLocaleString("en")} classes. Bars: 95 % intervals over images. Grey: median of the random orders, 5 to 95 % of them, and all.`
    : `${metricLabel(state.metric)} was not measured here.`;
  const rows = one ? rowsOf(one) : [];
  box.setAttribute("aria-label", `${by("explorer-title").textContent}. ${one ? described(one, state.metric) : "Nothing was measured."}`);
  exploring ??= draw(box, charts.explorer.spec).then((view) => {
    view.addEventListener("click", (event) => {
      const x = view.scale("x").invert(window.vegaX?.(event, view) ?? event.offsetX - view.origin()[0]);
      const nearest = ks().reduce((best, k) => Math.abs(k - x) < Math.abs(best - x) ? k : best);
      change({ k: nearest });
    });
    return view;
  });
  const view = await exploring;
  const levels = one?.levels ?? [];
  await refresh(view, { curves: rows, levels, chosen: [{ k: state.k }], hover: hoverRows(rows, levels, state.metric) }, { percent: state.metric !== "silhouette", ticks: one?.ticks ?? [] });
}

const panels = new Map();

function showPanels() {
  const box = by("panels");
  if (!box) return;
  if (!box.children.length) {
    data.datasets.forEach((name, at) => {
      const chart = make("div", { class: "chart", role: "img" });
      reserve(chart, document.querySelector("#panels-plain .still svg"));
      const figure = make("figure", { class: "figure panel" },
        make("figcaption", {}, make("h4", {}, make("button", { type: "button", click: () => change({ dataset: at }) }, name))), chart);
      box.append(figure);
      panels.set(at, { chart, figure, view: null });
      whenNear(figure, () => {
        const panel = panels.get(at);
        panel.draw = () => draw(chart, smallSpec(curve(at)));
        fillPanel(at, panel);
      });
    });
  }
  panels.forEach((panel, at) => fillPanel(at, panel));
}

const panelRows = (one) => ({
  curves: rowsOf(one), levels: one.levels, chosen: [{ k: state.k }], hover: hoverRows(rowsOf(one), one.levels, state.metric),
});

function smallSpec(one) {
  const first = Object.keys(charts).find((name) => name.startsWith("panel-"));
  return { ...charts[first].spec, datasets: panelRows(one) };
}

async function fillPanel(at, panel) {
  const one = curve(at);
  panel.figure.hidden = !one;
  panel.figure.classList.toggle("current", at === state.dataset);
  if (!one) return;
  panel.chart.setAttribute("aria-label", `${data.models[state.model]} on ${data.datasets[at]}. ${described(one, state.metric)}`);
  panel.view ??= panel.draw?.();
  if (panel.view) await refresh(await panel.view, panelRows(one), { percent: state.metric !== "silhouette", ticks: one.few });
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
  const { curves, levels } = charts[name].spec.datasets;
  if (curves) return { hover: hoverRows(curves, levels, "accuracy") };
  if (!name.startsWith("importance-")) return charts[name].choices?.[pair()] ?? {};
  const model = name.split("-")[1];
  const found = data.neurons[model];
  const of = data.details[`${model}/${state.dataset}`];
  if (!of?.drop) return {};
  const rows = {
    neurons: of.drop.map((drop, neuron) => ({
      neuron, rank: found.rank[neuron], total_overlap: found.total_overlap[neuron], accuracy_drop: drop, low: of.low[neuron], high: of.high[neuron],
    })).filter((row) => row.total_overlap !== null).sort((a, b) => a.total_overlap - b.total_overlap),
  };
  const chosen = rows.neurons.filter((row) => row.neuron === state.neuron && Number(model) === state.model);
  return { ...rows, chosen: chosen.length ? chosen : rows.neurons.slice(0, 1) };
}

async function showChoices() {
  for (const [name, view] of views) {
    if (name.startsWith("key-")) continue;
    const rows = chosenRows(name);
    if (Object.keys(rows).length) await refresh(await view, rows);
    nameChoice(name);
  }
}

/** The heading of a chart that follows the choice, and the text that stands for it, say what it shows now. */
function nameChoice(name) {
  const single = name.startsWith("importance-");
  const heading = by(name)?.querySelector("h3");
  if (!heading || !(single || charts[name].choices)) return;
  heading.dataset.title ??= heading.textContent;
  heading.textContent = `${heading.dataset.title}, ${single ? "" : `${data.models[state.model]} `}on ${data.datasets[state.dataset]}`;
  const { neurons: rows = [] } = single ? chosenRows(name) : {};
  if (!rows.length) return;
  const most = rows.reduce((best, row) => row.accuracy_drop > best.accuracy_drop ? row : best);
  const costly = rows.filter((row) => row.accuracy_drop < 0).length;
  document.querySelector(`[data-chart="${name}"]`).setAttribute("aria-label",
    `${data.models[name.split("-")[1]]} on ${data.datasets[state.dataset]}: accuracy lost without each of ${rows.length} neurons against its overlap. ` +
    `Most is lost without neuron ${most.neuron}, ${points(most.accuracy_drop)} points; ${costly} neurons cost accuracy.`);
}

// At this k.
function showTable() {
  const box = by("at");
  if (!box) return;
  const metrics = data.metrics.map(([name]) => name).filter((name) => curve(state.dataset, name));
  const tested = data.differences[pair()] ?? {};
  const rows = [...data.strategies.map((one) => one[0]).filter((name) => state.shown.includes(name)), "full"].map((strategy) => {
    const cells = [[strategy === "full" ? "all neurons" : strategyLabel(strategy), strategy]];
    for (const metric of metrics) {
      const one = curve(state.dataset, metric);
      const row = strategy === "full" ? one.full : one.rows.find((each) => each.strategy === strategy && each.k === state.k) ?? {};
      cells.push([measure(row.value, metric), row.value]);
      if (metric === "accuracy") cells.push(interval(row.low, row.high, percent));
    }
    const [difference, low, high, p, holm] = tested[`${strategy}/${state.k}`] ?? [];
    cells.push([points(difference), difference], interval(low, high, points), [short(p, 2), p], [short(holm, 2), holm]);
    return cells;
  });
  const headings = ["Kept"];
  const guessed = metrics.map((metric) => [metric, curve(state.dataset, metric).chance]).filter(([, chance]) => !none(chance));
  if (guessed.length) {
    const chance = new Map(guessed);
    rows.push([["chance", "chance"], ...metrics.flatMap((metric) => [[measure(chance.get(metric), metric), chance.get(metric)],
      ...(metric === "accuracy" ? [[NONE, null]] : [])]), ...Array(4).fill([NONE, null])]);
  }
  for (const metric of metrics) {
    headings.push(metricLabel(metric) + (metric === "silhouette" ? "" : ", %"));
    if (metric === "accuracy") headings.push("95 % interval");
  }
  headings.push("Minus random", "95 % interval", "p", "p (Holm)");
  const numeric = headings.map((text, place) => place > 0 && text !== "95 % interval");
  const exported = ["strategy", ...metrics.flatMap((name) => name === "accuracy" ? [name, "accuracy_low accuracy_high"] : [name]),
    "minus_random", "minus_random_low minus_random_high", "p", "p_holm"];
  box.querySelector("caption span").textContent = `${data.models[state.model]} on ${data.datasets[state.dataset]}, ${state.k.toLocaleString("en")} neurons kept`;
  box.querySelector("thead tr").replaceChildren(...headings.map((text, place) => make("th", { scope: "col", class: numeric[place] ? "number" : null, "data-name": exported[place] }, text)));
  box.querySelector("tbody").replaceChildren(...rows.map((cells) => make("tr", {}, cells.map(([shown, value], place) =>
    make(place ? "td" : "th", { scope: place ? null : "row", class: numeric[place] ? "number" : null, "data-value": none(value) ? "" : String(value) }, shown)))));
  makeSortable(box);
}

function interval(low, high, show) {
  return none(low) ? [NONE, null] : [`${show(low)} to ${show(high)}`, `${low} ${high}`];
}

function showConfusions() {
  const box = by("confusion-lists");
  if (!box) return;
  const here = data.confusions[pair()] ?? {};
  const lists = state.shown.filter((name) => `${name}/${state.k}` in here).map((name) => {
    const pairs = here[`${name}/${state.k}`];
    const swatch = document.querySelector(`input[name="strategy"][value="${CSS.escape(name)}"]`)?.parentElement.querySelector("svg")?.cloneNode(true);
    return make("div", {}, make("h4", {}, swatch, strategyLabel(name)),
      pairs.length ? make("ul", {}, pairs.map(([truth, predicted, full, then]) => make("li", {},
        make("b", { class: then > full ? "more" : "less" }, `${then > full ? "+" : MINUS}${Math.abs(then - full)}`),
        make("span", {}, `${truth} → ${predicted}`), make("small", {}, `${full} → ${then}`)))) : make("p", { class: "note" }, "No pair changes."));
  });
  box.replaceChildren(...(lists.length ? lists : [make("p", { class: "note" }, "Counted for the highest and lowest purity and the first random order.")]));
}

/** The neurons that each strategy keeps at this k, to be copied. */
function showTake() {
  const box = by("take");
  const orders = data.details[pair()]?.orders ?? {};
  const names = state.shown.filter((name) => name in orders);
  if (!box) return;
  box.hidden = !names.length;
  by("takes").replaceChildren(...names.map((name) => {
    const what = `${state.k.toLocaleString("en")} of ${strategyLabel(name)}`;
    const kept = JSON.stringify(orders[name].slice(0, state.k));
    return make("button", { type: "button", click: () => copy(kept, by("taken"), `Indices of the ${what} copied`) }, `Copy the ${what}`);
  }));
}

// One neuron.
const neurons = () => data.neurons[state.model];

const shownNeuron = () => Math.min(state.neuron ?? neurons().rank.indexOf(1), neurons().rank.length - 1);

function showNeuron() {
  const finder = by("finder");
  if (!finder) return;
  const found = neurons();
  finder.hidden = !found;
  if (!found) return;
  by("card").replaceChildren(cardOf(found, shownNeuron()));
}

// What is in the search field, if not the number of the neuron that is shown.
let sought = "";
const FOUND = 12; // neurons, at most
const plainly = (text) => text.normalize("NFD").replaceAll(/\p{M}/gu, "").toLowerCase();

/**
 * The neurons that have the text in one of their closest words or classes: neuron, name, of what, score. First where it
 * is the name, then where it is a word of it, then where it is part of one; and then by score.
 */
function search(text) {
  const best = new Map();
  const wanted = plainly(text);
  const nearness = (name) => name === wanted ? 3 : name.split(/[^\p{L}\p{N}]+/u).includes(wanted) ? 2 : name.includes(wanted) ? 1 : 0;
  const better = (a, b) => b.near - a.near || b.score - a.score || a.neuron - b.neuron;
  for (const [at, of] of [...data.datasets, "words"].entries()) {
    const { names = [], words = [] } = data.details[pair(at)] ?? {};
    const fits = names.map((name) => nearness(plainly(name)));
    words.forEach((closest, neuron) => {
      for (const [word, score] of closest) {
        const one = { neuron, name: names[word], of, score, near: fits[word] };
        if (one.near && (!best.has(neuron) || better(one, best.get(neuron)) < 0)) best.set(neuron, one);
      }
    });
  }
  return [...best.values()].sort(better);
}

function showFound() {
  if (!by("finder") || !neurons()) return;
  if (sought === "" && document.activeElement !== by("neuron")) by("neuron").value = shownNeuron();
  const number = /^[-+]?\d+([.,]\d*)?$/.test(sought);
  const found = sought && !number ? search(sought) : [];
  by("neuron").setAttribute("aria-invalid", String(number));
  by("found-said").textContent = !sought ? ""
    : number ? `There is no neuron ${sought}, only 0 to ${neurons().rank.length - 1}. Still shown: neuron ${shownNeuron()}.`
    : !found.length ? `Nothing found: no neuron with “${sought}” in a closest word or class.`
    : `${found.length} ${found.length === 1 ? "neuron" : "neurons"} with “${sought}” in a closest word or class${found.length > FOUND ? `; the ${FOUND} closest` : ""}:`;
  const held = by("found").contains(document.activeElement);
  by("found").replaceChildren(...found.slice(0, FOUND).map(({ neuron, name, of, score }) => make("li", {},
    make("button", { type: "button", "aria-current": neuron === shownNeuron() ? "true" : null, click: () => change({ neuron }, "found") },
      `neuron ${neuron}: ${name} (${of}) `, make("small", {}, plain(score, 1))))));
  if (held) (by("found").querySelector("[aria-current]") ?? by("neuron")).focus();
}

/** Bring the page in line with the search field. */
function seek(text) {
  const number = /^\d+$/.test(text) && Number(text) < neurons().rank.length;
  sought = number ? "" : text;
  if (number) change({ neuron: Number(text) });
  else show();
}

/** From the field to the list below it, through it, and back. */
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

function cardOf(found, neuron) {
  const vocabulary = data.details[pair(data.datasets.length)];
  const words = vocabulary?.words?.[neuron] ?? [];
  return make("article", { class: "card large", id: "card-shown", tabindex: "-1" },
    make("header", {}, make("h4", {}, `Neuron ${neuron}`), make("p", {}, `rank ${found.rank[neuron]} of ${found.rank.length}, ${data.models[state.model]}`)),
    make("dl", { class: "towers" }, ["image", "text"].map((tower) => towerOf(found[tower], tower, neuron))),
    words.length ? make("p", { class: "words" }, make("span", {}, "Words"), make("span", {}, words.map(([word, score]) => `${vocabulary.names[word]} (${plain(score, 1)})`).join(", "))) : null,
    make("div", { class: "sets" }, data.datasets.map((name, at) => seenIn(name, at, neuron))));
}

function towerOf(one, tower, neuron) {
  const below = none(one.below?.[neuron]) ? "" : `; ${purer(one.below[neuron])}`;
  const near = one.near?.[neuron].map((other, place) => make("li", {},
    make("button", { type: "button", click: () => change({ neuron: other }, "card"), "aria-label": `Neuron ${other}, cosine ${plain(one.cosine[neuron][place], 2)}` },
      `${other} `, make("small", {}, plain(one.cosine[neuron][place], 2)))));
  return make("div", {}, make("dt", {}, `${tower} tower`), make("dd", {},
    make("b", {}, plain(one.overlap[neuron], 4)), ` overlap, purity ${plain(one.purity[neuron], 1)}${below}`,
    near ? make("div", { class: "near" }, make("span", { "aria-hidden": "true" }, "nearest, by cosine"),
      make("ul", { "aria-label": `nearest neurons in the ${tower} tower, with their cosine` }, near)) : null));
}

function seenIn(name, at, neuron) {
  const one = data.details[pair(at)];
  if (!one) return null;
  const words = one.words?.[neuron]?.map(([word]) => one.names[word]).join(", ");
  const recalls = one.classes?.[neuron]?.map(([label, drop]) => [one.names[label], points(drop, 0)]).filter(([, drop]) => /[1-9]/.test(drop)) ?? [];
  const drop = one.drop ? `${points(one.drop[neuron])} points (${points(one.low[neuron])} to ${points(one.high[neuron])})` : null;
  const strips = [strip("most", one.most?.[neuron], one, at), strip("least", one.least?.[neuron], one, at)].filter((each) => each);
  return make("section", { class: "seen" }, make("header", {}, make("h5", {}, name)),
    strips.length ? make("div", { class: "strips" }, strips) : null,
    words ? make("p", {}, `Classes: ${words}`) : null,
    drop ? make("p", {}, "Lost without it: ", make("span", { class: "lost" }, drop)) : null,
    recalls.length ? make("p", {}, `Recall lost by class: ${recalls.map((each) => each.join(" ")).join(", ")} points`) : null);
}

const styled = new Set([...document.styleSheets].flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.selectorText)).filter((text) => /^\.t\d/.test(text ?? "")));

function strip(end, entries, one, at) {
  if (!entries?.length) return null;
  const thumbs = entries.map(([image, name, activation]) => {
    const told = `${one.names[name]}, activation ${activation}`;
    const rule = `t${at}-${image}`;
    return styled.has("." + rule)
      ? make("li", { class: `thumb ${rule}`, role: "img", title: told, "aria-label": told })
      : make("li", { class: "thumb none", title: `image ${image}: ${told}` }, one.names[name]);
  });
  return make("div", { class: `strip ${end}` }, make("span", { "aria-hidden": "true" }, end), make("ul", { class: "thumbs", "aria-label": `activate it ${end}` }, thumbs));
}

function step(by_, walk = document.querySelector('input[name="walk"]:checked').value) {
  const found = neurons();
  const now = shownNeuron();
  const count = found.rank.length;
  const next = walk === "rank" ? found.rank.indexOf(Math.min(count, Math.max(1, found.rank[now] + by_))) : Math.min(count - 1, Math.max(0, now + by_));
  change({ neuron: next });
}

// Tables: sorting, and copies with every digit, under names that say so.
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
  all("thead th", box).forEach((one, at) => {
    if (at === column) one.setAttribute("aria-sort", up === 1 ? "ascending" : "descending");
    else one.removeAttribute("aria-sort");
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

/** What a table holds, for other programs: a name a column, two for an interval, and every digit. */
function whole(box) {
  const names = all("thead th", box).map((head) => head.dataset.name?.split(" ") ?? [head.textContent]);
  const row = (one) => [...one.cells].flatMap((cell, at) => {
    const text = cell.dataset.value ?? cell.textContent;
    return names[at].length === 1 ? [text] : text ? text.split(" ") : ["", ""];
  });
  return [names.flat(), ...all("tbody tr", box).map(row)].map((cells) => cells.map(harmless));
}

/** A text that a spreadsheet would take for a formula, with the mark that makes it a text there; numbers as they are. */
const harmless = (text) => /^\s*[=+\-@＝＋－＠]|^[\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;

const grid = (box, pick) => all("tr", box).map((row) => [...row.cells].map(pick));
const quoted = (text) => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
const csv = (box) => whole(box).map((row) => row.map(quoted).join(",")).join("\n") + "\n";
const tabs = (box) => whole(box).map((row) => row.map((text) => text.replaceAll(/\s+/g, " ")).join("\t")).join("\n") + "\n";
const fileName = (box) => plainly(box.querySelector("caption").textContent).replaceAll(/[^\p{L}\p{N}]+/gu, "-").replaceAll(/^-|-$/g, "").slice(0, 80);

const SPECIAL = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "–": "--", "→": "$\\to$", "ρ": "$\\rho$", "×": "$\\times$" };
const tex = (text) => text.replaceAll(/[\\~^&%$#_{}−–→ρ×]/g, (one) => SPECIAL[one] ?? `\\${one}`);

function latex(box) {
  const [head, ...rows] = grid(box, (cell) => tex(cell.textContent));
  const columns = all("thead th", box).map((one) => one.classList.contains("number") ? "r" : "l").join("");
  const line = (cells) => `${cells.join(" & ")} \\\\`;
  return [`\\begin{tabular}{${columns}}`, "\\toprule", line(head), "\\midrule", ...rows.map(line), "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

async function copy(text, said, told = "Copied") {
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
  said.textContent = told;
  setTimeout(() => { said.textContent = ""; }, 2000);
}

function save(text, name) {
  const link = make("a", { href: "data:text/csv;charset=utf-8," + encodeURIComponent(text), download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function addTools(box) {
  const said = make("span", { role: "status" });
  box.append(make("p", { class: "tools scripted" },
    make("button", { type: "button", click: () => copy(tabs(box), said) }, "Copy"),
    make("button", { type: "button", click: () => save(csv(box), `${fileName(box)}.csv`) }, "CSV"),
    make("button", { type: "button", click: () => copy(latex(box), said) }, "LaTeX"), said));
}

// From a change to the page.
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
      const there = ks();
      if (!there.includes(state.k)) state.k = there.reduce((best, k) => Math.abs(k - state.k) < Math.abs(best - state.k) ? k : best, there[0]);
      by("dataset").value = state.dataset;
      by("metric").value = state.metric;
      by("k").max = there.length - 1;
      by("k").value = there.indexOf(state.k);
      by("k").disabled = there.length < 2;
      const neuronsKept = (curve() ?? anyCurve())?.neurons;
      by("k-shown").textContent = `${state.k.toLocaleString("en")} of ${neuronsKept?.toLocaleString("en")}, ${percent(state.k / neuronsKept, 0)} %`;
      by("k").setAttribute("aria-valuetext", by("k-shown").textContent);
      all('input[name="strategy"]').forEach((box) => { box.checked = state.shown.includes(box.value); });
    }
  }
  const { model, dataset, metric, k, neuron } = state;
  const shown = state.shown.join();
  when("models", [model], () => all(".of-model").forEach((part) => { part.hidden = Number(part.dataset.model) !== model; }));
  when("explorer", [model, dataset, metric, k, shown], showExplorer);
  when("table", [model, dataset, k, shown], showTable);
  when("take", [model, dataset, k, shown], showTake);
  when("confusions", [model, dataset, k, shown], showConfusions);
  when("panels", [model, dataset, metric, k, shown], showPanels);
  when("choices", [model, dataset, neuron], showChoices);
  when("neuron", [model, neuron], showNeuron);
  when("found", [model, neuron, sought], showFound);
}

const last = new Map();

/** Does what depends on some choices when one of them has changed. */
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
    const shown = all('input[name="strategy"]').filter((one) => one.checked).map((one) => one.value);
    if (shown.length) change({ shown });
    else box.checked = true; // a chart of nothing has no axes
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
    try { localStorage.setItem("purescope-theme", dark); } catch { /* kept for this visit only */ }
    nameTheme();
  });
}

const isDark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { by("theme").textContent = isDark() ? "Light" : "Dark"; };

/** The address may name a part of the page, or a neuron; what is above it has its height only now. */
function goToAddress() {
  const name = decodeURIComponent(location.hash.slice(1));
  const [navigation] = performance.getEntriesByType("navigation");
  if (navigation?.type !== "navigate") return; // back, or loaded again: where the reader was
  const target = name.includes("=") ? state.neuron !== null && by("finder") : by(name);
  if (target) target.scrollIntoView({ behavior: "instant", block: "start" });
}

readAddress();
listen();
nameTheme();
all(".chart").forEach((box) => reserve(box, box.querySelector(".still svg")));
all(".cards .card").forEach((card) => {
  const heading = card.querySelector("h4");
  const [, model, neuron] = card.id.split("-").map(Number);
  heading.replaceChildren(make("button", { type: "button", title: "All there is of it", click: () => change({ model, neuron }, "card") }, heading.textContent));
});
all("[data-table]").forEach((box) => { if (box.id !== "at") makeSortable(box); addTools(box); });
show();
drawRest();
goToAddress();
addEventListener("beforeprint", () => all("details").forEach((one) => { one.open = true; }));
removeEventListener("error", window.plainPage);
removeEventListener("unhandledrejection", window.plainPage);
