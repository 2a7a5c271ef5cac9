// The live panel of a job. Plain ES module, no bundler, ipywidgets >= 7.6 and anywidget >= 0.9 API only.
//
// Words and rounded numbers come from Python, here is drawing alone. Text enters the page through textContent only: run
// names, notes and metric names are data. `initialize` and `render` get different proxies of the model, so what they share
// lives in the closure that the default export makes once a model.

const SILENCE_MS = 10_000;
const CHART = { height: 160, left: 46, right: 12, top: 26, bottom: 22 };
const CURVES = ["train", "loss", "metric"];
const SVG = "http://www.w3.org/2000/svg";
const MOST_TABLE_ROWS = 100;

// ---------------------------------------------------------------------------------------------------------- building nodes

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return made;
}

function drawn(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== null) made.textContent = text;
  return made;
}

const filled = (template, values) => template.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text; // an unchanged live region must not be read out again
}

// ------------------------------------------------------------------------------------------------------------------ numbers

function floats(view) {
  if (!view) return new Float32Array(0);
  const bytes = view instanceof ArrayBuffer ? new Uint8Array(view) : new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  return new Float32Array(bytes.slice().buffer); // copied: the offset in a message need not be a multiple of four
}

function replacedFrom(points, start, fresh) {
  const joined = new Float32Array(start * 2 + fresh.length);
  joined.set(points.subarray(0, start * 2));
  joined.set(fresh, start * 2);
  return joined;
}

function smoothed(points) {
  // Exponential moving average over about an eighth of the points, corrected for its start: as on the card.
  const n = points.length / 2;
  const decay = 1 - 1 / Math.max(1, n / 16);
  const out = new Float32Array(points.length);
  let mean = 0;
  let weight = 0;
  for (let i = 0; i < n; i++) {
    const value = points[2 * i + 1];
    if (Number.isFinite(value)) {
      mean = decay * mean + (1 - decay) * value;
      weight = decay * weight + (1 - decay);
    }
    out[2 * i] = points[2 * i];
    out[2 * i + 1] = weight ? mean / weight : NaN;
  }
  return out;
}

function extent(series, axis) {
  let low = Infinity;
  let high = -Infinity;
  for (const points of series) {
    for (let i = axis; i < points.length; i += 2) {
      if (!Number.isFinite(points[i])) continue;
      if (points[i] < low) low = points[i];
      if (points[i] > high) high = points[i];
    }
  }
  return low <= high ? [low, high] : null;
}

function niceTicks(low, high, most, whole = false) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  let step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough) || power * 10;
  if (whole) step = Math.max(1, Math.round(step));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(k * step);
  return { ticks, digits: Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9) + (step / power === 2.5 ? 1 : 0))) };
}

const grouped = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, ",");

// ------------------------------------------------------------------------------------------------------------------- charts

/** One chart: axes, curves, a mark at the best step, and the values under the pointer. */
function chart(kind, words) {
  const title = node("span", { class: "fm-chart-title" });
  const legend = node("span", { class: "fm-legend" });
  const reading = node("span", { class: "fm-reading" });
  const svg = drawn("svg", { class: "fm-svg", role: "img", focusable: "false" });
  const root = node("figure", { class: `fm-chart fm-chart-${kind}` }, node("figcaption", {}, title, legend, reading), svg);
  let place = null;
  let shown = [];

  function draw({ name, series, total, best }) {
    const width = Math.max(220, Math.floor(root.clientWidth || 420));
    setText(title, name);
    legend.replaceChildren(...series.filter((s) => s.label).map((s) => node("span", { class: `fm-key fm-${s.kind}` }, s.label)));
    svg.setAttribute("viewBox", `0 0 ${width} ${CHART.height}`);
    svg.setAttribute("height", CHART.height);
    svg.setAttribute("aria-label", describe(name, series));
    svg.replaceChildren();
    shown = series.filter((s) => s.points.length);
    root.hidden = !shown.length;
    if (!shown.length) return;
    place = scales(shown, total, width);
    axes(svg, place, width, words);
    if (best > 0) mark(svg, place, best, words);
    for (const s of shown) curve(svg, place, s);
  }

  svg.addEventListener("pointermove", (event) => {
    if (!place) return;
    const box = svg.getBoundingClientRect();
    const step = place.stepAt(event.clientX - box.left);
    const found = shown.filter((s) => s.label).map((s) => [s.label, nearest(s.points, step)]);
    if (!found.length) return;
    setText(reading, `${words["axis.step"]} ${grouped(found[0][1][0])}: ${found.map(([, p]) => p[1].toPrecision(4)).join(" / ")}`);
  });
  svg.addEventListener("pointerleave", () => setText(reading, ""));
  return { root, draw };
}

function nearest(points, step) {
  let low = 0;
  let high = points.length / 2 - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[2 * middle] < step) low = middle + 1;
    else high = middle;
  }
  if (low > 0 && step - points[2 * low - 2] < points[2 * low] - step) low -= 1;
  return [points[2 * low], points[2 * low + 1]];
}

function describe(name, series) {
  const parts = series
    .filter((s) => s.points.length && s.label)
    .map((s) => `${s.label} ${s.points[s.points.length - 1].toPrecision(3)}`);
  return `${name}: ${parts.join(", ")}`;
}

function scales(series, total, width) {
  const steps = extent(series.map((s) => s.points), 0) || [0, 1];
  // The faint raw curve may leave the frame for a moment: the scale follows what is to be read.
  let [low, high] = extent(series.filter((s) => s.kind !== "raw").map((s) => s.points), 1) || [0, 1];
  const raw = series.find((s) => s.kind === "raw");
  if (raw) {
    const sorted = Array.from(raw.points).filter((v, i) => i % 2 === 1 && Number.isFinite(v)).sort((a, b) => a - b);
    if (sorted.length) {
      low = Math.min(low, sorted[Math.floor(sorted.length * 0.02)]);
      high = Math.max(high, sorted[Math.ceil((sorted.length - 1) * 0.98)]);
    }
  }
  const pad = (high - low || Math.abs(high) || 1) * 0.08;
  [low, high] = [low - pad, high + pad];
  // To the last step of the run, but at first no further than twice the curve, which would else be a sliver.
  const last = Math.max(Math.min(total || 0, Math.max(2 * steps[1], 10)), steps[1], 1);
  const inner = { width: width - CHART.left - CHART.right, height: CHART.height - CHART.top - CHART.bottom };
  return {
    x: (step) => CHART.left + (step / last) * inner.width,
    y: (value) => CHART.top + (1 - (value - low) / (high - low)) * inner.height,
    stepAt: (x) => ((x - CHART.left) / inner.width) * last,
    low, high, last,
    floor: CHART.top + inner.height,
    end: CHART.left + inner.width,
  };
}

function axes(svg, place, width, words) {
  const { ticks, digits } = niceTicks(place.low, place.high, 4);
  for (const tick of ticks) {
    const y = place.y(tick).toFixed(1);
    svg.append(drawn("line", { class: "fm-grid", x1: CHART.left, x2: place.end, y1: y, y2: y }));
    svg.append(drawn("text", { class: "fm-tick", x: CHART.left - 8, y, dy: "0.32em", "text-anchor": "end" }, tick.toFixed(digits)));
  }
  svg.append(drawn("line", { class: "fm-axis", x1: CHART.left, x2: place.end, y1: place.floor, y2: place.floor }));
  const steps = niceTicks(0, place.last, Math.max(2, Math.floor(width / 90)), true).ticks;
  for (const tick of steps) {
    const x = place.x(tick).toFixed(1);
    svg.append(drawn("line", { class: "fm-axis", x1: x, x2: x, y1: place.floor, y2: place.floor + 4 }));
    const near = place.end - x < 24;
    svg.append(drawn("text", { class: "fm-tick", x, y: place.floor + 16, "text-anchor": near ? "end" : "middle" }, grouped(tick)));
  }
  svg.append(drawn("text", { class: "fm-tick fm-axis-name", x: CHART.left - 8, y: place.floor + 16, "text-anchor": "end" }, words["axis.step"]));
}

function curve(svg, place, { kind, points }) {
  let path = "";
  let pen = false;
  for (let i = 0; i < points.length; i += 2) {
    if (!Number.isFinite(points[i + 1])) {
      pen = false; // a gap where the loss was not a number
      continue;
    }
    const y = Math.min(CHART.height, Math.max(0, place.y(points[i + 1])));
    path += `${pen ? "L" : "M"}${place.x(points[i]).toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  }
  svg.append(drawn("path", { class: `fm-curve fm-${kind}`, d: path }));
  if ((kind === "held-out" || kind === "metric") && points.length <= 80) {
    for (let i = 0; i < points.length; i += 2) {
      if (Number.isFinite(points[i + 1])) {
        svg.append(drawn("circle", { class: `fm-dot fm-${kind}`, cx: place.x(points[i]).toFixed(1), cy: place.y(points[i + 1]).toFixed(1), r: 2.6 }));
      }
    }
  }
}

function mark(svg, place, best, words) {
  const x = place.x(best).toFixed(1);
  const right = place.end - x < 90;
  svg.append(drawn("line", { class: "fm-best", x1: x, x2: x, y1: CHART.top - 6, y2: place.floor }));
  const text = filled(words["axis.best"], { step: grouped(best) });
  svg.append(drawn("text", { class: "fm-tick", x: Number(x) + (right ? -5 : 5), y: CHART.top - 1, "text-anchor": right ? "end" : "start" }, text));
}

// -------------------------------------------------------------------------------------------------------------------- store

/** What all views of one model share: the newest state, the curves, and when the kernel was last heard. */
function createStore(model) {
  const store = {
    words: model.get("words") || {},
    late: Boolean(model.get("late")),
    state: model.get("state") || {},
    curves: Object.fromEntries(CURVES.map((name) => [name, floats((model.get("curves") || {})[name])])),
    heard: Date.now(),
    lag: 0,
    views: new Set(),
    asked: false,
    show() {
      for (const view of store.views) view();
    },
  };
  model.on("msg:custom", (message, buffers) => {
    if (!message || message.type !== "tick") return;
    store.heard = Date.now();
    store.lag = Math.round(store.heard - message.state.sent * 1000);
    let missed = false;
    message.curves.forEach(([name, start], i) => {
      if (start * 2 > store.curves[name].length) missed = true;
      else store.curves[name] = replacedFrom(store.curves[name], start, floats(buffers[i]));
    });
    store.state = message.state;
    store.late = store.late && message.state.late; // until a later cell has written the card anew
    if (store.state.over && !store.late) model.send({ type: "seen" }); // so the final card came to this page too
    if (missed && !store.asked) model.send({ type: "whole" });
    store.asked = missed;
    store.show();
  });
  return store;
}

// --------------------------------------------------------------------------------------------------------------------- view

function createView(model, store, el) {
  const { words } = store;
  const send = (command) => model.send({ type: "command", command });
  const button = (label, kind, action) => {
    const made = node("button", { type: "button", class: `fm-button fm-button-${kind}` }, label);
    made.addEventListener("click", action);
    return made;
  };

  const name = node("span", { class: "fm-name" });
  const words_ = node("span", { class: "fm-state", role: "status", "aria-live": "polite" });
  const buttons = {
    pause: button(words.pause, "plain", () => send("pause")),
    resume: button(words.resume, "main", () => send("resume")),
    stop: button(words.stop, "plain", () => send("stop")),
    cancel: button(words.cancel, "quiet", () => ask(true)),
    restart: button(words.restart, "main", () => send("restart")),
  };
  const sure = button(words.cancel_yes, "danger", () => { ask(false); send("cancel"); });
  const keep = button(words.cancel_no, "plain", () => ask(false));
  const question = node("span", { class: "fm-question", role: "group", "aria-label": words.cancel_ask, hidden: true },
    node("span", { class: "fm-question-text" }, words.cancel_ask), sure, keep);
  const actions = node("span", { class: "fm-actions" }, ...Object.values(buttons));
  const bar = node("div", { class: "fm-bar", role: "progressbar", "aria-label": words.progress, "aria-valuemin": 0, "aria-valuemax": 100 },
    node("div", { class: "fm-bar-fill" }));
  const facts = node("div", { class: "fm-facts" }); // no dl: JupyterLab floats its dt
  const faults = node("div", { class: "fm-faults", "aria-live": "polite" });
  const charts = { loss: chart("loss", words), metric: chart("metric", words) };
  const empty = node("p", { class: "fm-empty" }, words.waiting_for_points);
  const curves = node("div", { class: "fm-charts" }, charts.loss.root, charts.metric.root);
  const scores = node("div", { class: "fm-scores" });
  const notes = node("ul", { class: "fm-notes" });
  const tableArea = node("div", { class: "fm-table-area", hidden: true });
  const tableButton = button(words.show_table, "link", () => { tableArea.hidden = !tableArea.hidden; draw(); });
  const openButton = button(words.show_curves, "link", () => { opened = !isOpen(); draw(); });
  const body = node("div", { class: "fm-body" }, empty, curves, scores);
  const foot = node("div", { class: "fm-foot" }, openButton, tableButton);
  const root = node("section", { class: "fm-progress", role: "region" },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, node("span", { class: "fm-lamp", "aria-hidden": "true" }), name, words_), actions, question),
    bar, facts, faults, body, notes, foot, tableArea);
  let opened = null;

  // In JupyterLab a key typed on a button acts on the notebook ("b" inserts a cell); saving stays the notebook's.
  root.addEventListener("keydown", (event) => {
    if (!((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s")) event.stopPropagation();
    if (event.key === "Escape" && !question.hidden) ask(false);
  });

  function ask(on) {
    const within = root.contains(document.activeElement);
    question.hidden = !on;
    actions.hidden = on;
    if (on) keep.focus();
    else if (within) buttons.cancel.focus();
  }

  const isOpen = () => (opened === null ? !store.state.compact || store.late : opened);

  function draw() {
    const state = store.state;
    if (!state.state) return;
    const silent = !state.over && Date.now() - store.heard > SILENCE_MS;
    root.dataset.state = silent ? "silent" : state.state;
    root.dataset.step = state.step;
    root.dataset.lag = store.lag;
    root.dataset.points = store.curves.train.length / 2;
    root.setAttribute("aria-label", filled(words.region, { name: state.name }));
    setText(name, state.name);
    setText(words_, silent ? words.silent_state : state.words);
    drawButtons(state, silent);
    drawBar(state);
    drawFacts(state.facts);
    drawFaults(state, silent);
    drawNotes(state.notes);
    drawBody(state);
  }

  function drawButtons(state, silent) {
    const allowed = new Set(silent ? [] : state.commands);
    const focused = document.activeElement;
    for (const [command, each] of Object.entries(buttons)) {
      each.disabled = !allowed.has(command);
      each.hidden = !allowed.has(command) && (command === "resume" || command === "restart" || state.over || (state.kind !== "finetune" && command !== "cancel"));
    }
    buttons.pause.hidden = buttons.pause.hidden || allowed.has("resume");
    // Focus follows Pause to Resume and back, so that a keyboard is never left nowhere.
    if (focused === buttons.pause && buttons.pause.hidden) buttons.resume.focus();
    if (focused === buttons.resume && buttons.resume.hidden) buttons.pause.focus();
    if (!allowed.has("cancel") && !question.hidden) ask(false);
  }

  function drawBar(state) {
    const known = state.fraction !== null && state.fraction !== undefined;
    bar.hidden = state.state === "finished";
    bar.classList.toggle("fm-bar-unknown", !known && !state.over && state.state !== "queued");
    bar.firstChild.style.width = known ? `${(100 * state.fraction).toFixed(2)}%` : "";
    if (known) bar.setAttribute("aria-valuenow", Math.round(100 * state.fraction));
    else bar.removeAttribute("aria-valuenow");
  }

  function drawFacts(pairs) {
    while (facts.children.length > pairs.length) facts.lastChild.remove();
    pairs.forEach(([label, value], i) => {
      if (!facts.children[i]) facts.append(node("div", { class: "fm-fact" }, node("span", { class: "fm-label" }), node("span", { class: "fm-value" })));
      setText(facts.children[i].children[0], label);
      setText(facts.children[i].children[1], value);
    });
  }

  function drawFaults(state, silent) {
    const lines = [...state.error];
    if (silent) lines.push(filled(words.silent, { name: state.name }));
    if (store.late) lines.push(filled(words.late, { name: state.name }));
    const text = lines.join("\n");
    setText(faults, text);
    faults.hidden = !text;
    faults.classList.toggle("fm-mild", !state.error.length && !silent);
  }

  function drawNotes(list) {
    const key = JSON.stringify(list);
    if (notes.dataset.key === key) return;
    notes.dataset.key = key;
    notes.hidden = !list.length;
    notes.replaceChildren(...list.map(([level, text]) => node("li", { class: `fm-note fm-note-${level === "warning" ? "warning" : "info"}` }, text)));
  }

  function drawBody(state) {
    const has = store.curves.train.length + store.curves.loss.length + store.curves.metric.length > 0;
    openButton.hidden = !(state.compact && has);
    setText(openButton, isOpen() ? words.hide_curves : words.show_curves);
    openButton.setAttribute("aria-expanded", isOpen());
    tableButton.hidden = !has;
    foot.hidden = openButton.hidden && tableButton.hidden;
    body.hidden = !isOpen();
    curves.hidden = !has;
    empty.hidden = has || state.over || state.total === 0 || state.kind !== "finetune";
    if (isOpen() && has) drawCharts(state);
    drawScores(state.scores);
    setText(tableButton, tableArea.hidden ? words.show_table : words.hide_table);
    tableButton.setAttribute("aria-expanded", !tableArea.hidden);
    if (!tableArea.hidden) drawTable(state);
  }

  function drawCharts(state) {
    const { train, loss, metric } = store.curves;
    const few = train.length < 60;
    const total = state.over ? 0 : state.total;
    charts.loss.root.hidden = charts.metric.root.hidden = false;
    charts.metric.root.hidden = !metric.length;
    charts.loss.draw({
      name: words["axis.loss"], total, best: loss.length ? state.best : 0,
      series: [
        { kind: "raw", points: few ? new Float32Array(0) : train },
        { kind: "train", label: words["axis.train"], points: few ? train : smoothed(train) },
        ...(loss.length ? [{ kind: "held-out", label: words["axis.held_out"], points: loss }] : []),
      ],
    });
    if (metric.length) {
      charts.metric.draw({ name: state.metric, total, best: state.best, series: [{ kind: "metric", label: words["axis.held_out"], points: metric }] });
    }
  }

  function drawScores(rows) {
    const key = JSON.stringify(rows);
    if (scores.dataset.key === key) return;
    scores.dataset.key = key;
    scores.hidden = !rows.length;
    scores.replaceChildren(rows.length ? table(["metric", "value", "interval", "n"].map((c) => words[`column.${c}`]), rows) : "");
  }

  function drawTable(state) {
    const { train, loss, metric } = store.curves;
    const base = loss.length ? loss : metric;
    const key = `${base.length}:${metric.length}`;
    if (tableArea.dataset.key === key) return;
    tableArea.dataset.key = key;
    if (!base.length) {
      tableArea.replaceChildren(node("p", { class: "fm-empty" }, words.no_evaluation));
      return;
    }
    const stride = Math.ceil(base.length / 2 / MOST_TABLE_ROWS);
    const rows = [];
    for (let i = 0; i < base.length / 2; i += stride) {
      const step = base[2 * i];
      const near = train.length ? nearest(train, step)[1].toPrecision(4) : "";
      rows.push([grouped(step), near, loss.length ? loss[2 * i + 1].toPrecision(4) : "", metric.length ? metric[2 * i + 1].toFixed(3) : ""]);
    }
    const heads = [words["axis.step"], `${words["axis.loss"]}, ${words["axis.train"]}`, `${words["axis.loss"]}, ${words["axis.held_out"]}`, state.metric];
    tableArea.replaceChildren(table(heads, rows, words.table_caption));
  }

  function table(heads, rows, caption = "") {
    return node("table", { class: "fm-table" }, ...(caption ? [node("caption", {}, caption)] : []),
      node("thead", {}, node("tr", {}, ...heads.map((h) => node("th", { scope: "col" }, h)))),
      node("tbody", {}, ...rows.map(([first, ...rest]) => node("tr", {}, node("th", { scope: "row" }, first), ...rest.map((c) => node("td", {}, c))))));
  }

  function safely() {
    try {
      draw();
    } catch (error) {
      // A throw inside a message handler would vanish without a line.
      setText(faults, `${words.display_fault}\n${error}`);
      faults.hidden = false;
    }
  }

  // JupyterLab leaves the focus where it is when a cell's margin is clicked: its shortcuts would still be swallowed here.
  function leave(event) {
    if (!root.contains(event.target) && root.contains(document.activeElement)) document.activeElement.blur();
  }
  document.addEventListener("pointerdown", leave, true);

  el.append(root);
  return { root, draw: safely, forget: () => document.removeEventListener("pointerdown", leave, true) };
}

export default () => {
  let store = null;
  return {
    initialize({ model }) {
      store = createStore(model);
    },
    render({ model, el }) {
      store = store || createStore(model);
      const view = createView(model, store, el);
      store.views.add(view.draw);
      view.draw();
      const resized = new ResizeObserver(() => view.draw());
      resized.observe(view.root);
      const clock = setInterval(() => {
        if (!store.state.over) view.draw();
      }, 1000);
      return () => {
        clearInterval(clock);
        resized.disconnect();
        view.forget();
        store.views.delete(view.draw);
      };
    },
  };
};
