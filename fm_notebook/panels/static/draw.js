// Nodes, numbers and charts of every panel. Put before the panel's own module by `panels/assets.py`: one ES module a panel,
// no bundler, no import. Text enters the page through textContent only: run names, notes and metric names are data.

const CHART = { height: 160, left: 46, right: 12, top: 26, bottom: 22 };
const CURVES = ["train", "loss", "metric"];
const SVG = "http://www.w3.org/2000/svg";

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
    for (const s of shown) surroundings(svg, place, s);
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
  const around = (s) => [s.points, s.band || [], Number.isFinite(s.level) ? [0, s.level] : []];
  let [low, high] = extent(series.filter((s) => s.kind !== "raw").flatMap(around), 1) || [0, 1];
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

/** `band` holds the lower and the upper end at each step, one after the other; `level` is where a dashed line stands. */
function surroundings(svg, place, { kind, band, level }) {
  if (Number.isFinite(level)) {
    const y = place.y(level).toFixed(1);
    svg.append(drawn("line", { class: "fm-level", x1: CHART.left, x2: place.end, y1: y, y2: y }));
  }
  if (!band || !band.length) return;
  const corners = [];
  for (let i = 0; i < band.length; i += 4) corners.push([band[i], band[i + 1]]);
  for (let i = band.length - 4; i >= 0; i -= 4) corners.push([band[i + 2], band[i + 3]]);
  svg.append(drawn("polygon", { class: `fm-band fm-${kind}`, points: corners.map(([step, value]) => `${place.x(step).toFixed(1)},${place.y(value).toFixed(1)}`).join(" ") }));
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
  if ((kind === "held-out" || kind === "metric" || kind === "look" || kind.startsWith("run-")) && points.length <= 80) {
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

// JupyterLab leaves the focus where it is when a cell's margin is clicked: its shortcuts would still be swallowed in `root`.
// Gives back how to stop looking.
function leaveFocus(root) {
  function leave(event) {
    if (!root.contains(event.target) && root.contains(document.activeElement)) document.activeElement.blur();
  }
  document.addEventListener("pointerdown", leave, true);
  return () => document.removeEventListener("pointerdown", leave, true);
}
