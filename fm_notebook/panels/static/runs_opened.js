// One run opened below the table: what may be done with it, its curves, and all that is known of it as tables.

const MOST_TABLE_ROWS = 100;
const ACTIONS = { pause: "plain", resume: "main", restart: "main", stop: "plain", cancel: "quiet" };

/** `act(verb, path)` asks the kernel; `copy(text)` puts text on the clipboard; `close()` closes this. */
function createOpened(store, view, { act, copy, close }) {
  const { words } = store;
  const press = (label, kind, action) => {
    const made = node("button", { type: "button", class: `fm-button fm-button-${kind}` }, label);
    made.addEventListener("click", action);
    return made;
  };
  const name = node("h3", { class: "fm-name", tabindex: "-1" });
  const state = node("span", { class: "fm-state" });
  const buttons = Object.fromEntries(Object.entries(ACTIONS).map(([verb, kind]) => [verb, press(words[verb], kind, () => (verb === "cancel" ? ask("cancel") : act(verb)))]));
  buttons.copy = press(words.copy_cell, "plain", () => copy(store.details.get(view.opened)?.cell || ""));
  buttons.export = press(words.export, "plain", () => ask("export"));
  buttons.delete = press(words.delete, "plain", () => ask("delete"));
  buttons.close = press(words.close, "quiet", close);
  const actions = node("span", { class: "fm-actions" }, ...Object.values(buttons));

  const folder = node("input", { type: "text", class: "fm-input", spellcheck: "false" });
  folder.addEventListener("keydown", (event) => {
    if (event.key === "Enter") answer();
  });
  const askText = node("span", { class: "fm-question-text" });
  const label = node("label", { class: "fm-field" }, words.export_to, folder);
  const yes = press("", "danger", () => answer());
  const no = press("", "plain", () => ask(""));
  const question = node("div", { class: "fm-question", role: "group", hidden: true }, askText, label, yes, no);
  let asking = "";

  const facts = node("div", { class: "fm-facts" });
  const faults = node("div", { class: "fm-faults", hidden: true });
  const notes = node("ul", { class: "fm-notes" });
  const charts = { loss: chart("loss", words), metric: chart("metric", words) };
  const curves = node("div", { class: "fm-charts" }, charts.loss.root, charts.metric.root);
  const points = folded(words.show_table);
  const scores = node("div", { class: "fm-scores" });
  const sections = node("div", { class: "fm-sections" });
  const waiting = node("p", { class: "fm-empty", role: "status" }, words.loading);
  const whole = node("div", {}, facts, faults, curves, scores, notes, points.root, sections);
  const root = node("section", { class: "fm-opened", role: "region", hidden: true },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, node("span", { class: "fm-lamp", "aria-hidden": "true" }), name, state), actions),
    question, waiting, whole);

  function ask(what) {
    const from = asking;
    asking = what;
    question.hidden = !what;
    if (!what) {
      if (from) buttons[from].focus();
      return;
    }
    label.hidden = what !== "export";
    askText.hidden = what === "export";
    setText(askText, what === "cancel" ? words.cancel_ask : filled(words.delete_ask, { name: view.opened }));
    setText(yes, { export: words.export_go, cancel: words.cancel_yes, delete: words.delete_yes }[what]);
    setText(no, { export: words.close, cancel: words.cancel_no, delete: words.keep }[what]);
    yes.className = `fm-button fm-button-${what === "export" ? "main" : "danger"}`;
    question.setAttribute("aria-label", what === "export" ? words.export_to : askText.textContent);
    (what === "export" ? folder : no).focus();
  }

  function answer() {
    const what = asking;
    act(what, folder.value);
    ask("");
  }

  function draw() {
    root.hidden = !view.opened;
    if (!view.opened) return;
    const found = store.details.get(view.opened);
    const row = store.rows.get(view.opened);
    root.setAttribute("aria-label", view.opened);
    root.dataset.run = view.opened;
    root.dataset.state = found?.state || row?.state || "";
    setText(name, view.opened);
    waiting.hidden = Boolean(found);
    whole.hidden = !found;
    setText(state, found?.words || "");
    const allowed = new Set(row?.commands || []);
    for (const verb of [...Object.keys(ACTIONS), "delete"]) buttons[verb].hidden = !allowed.has(verb);
    buttons.export.hidden = !found?.exportable;
    buttons.copy.hidden = !found?.cell;
    if (asking && buttons[asking].hidden) ask("");
    if (found) drawWhole(found);
  }

  function drawWhole(found) {
    facts.replaceChildren(...found.facts.map(([key, value]) => node("div", { class: "fm-fact" }, node("span", { class: "fm-label" }, key), node("span", { class: "fm-value" }, value))));
    setText(faults, found.error.join("\n"));
    faults.hidden = !found.error.length;
    notes.hidden = !found.notes.length;
    notes.replaceChildren(...found.notes.map(([level, text]) => node("li", { class: `fm-note fm-note-${level === "warning" ? "warning" : "info"}` }, text)));
    const { train, loss, metric } = store.curves.get(view.opened) || { train: [], loss: [], metric: [] };
    drawCharts(found, train, loss, metric);
    scores.hidden = !found.scores.length;
    scores.replaceChildren(plainTable(["metric", "value", "interval", "n"].map((key) => words[`column.${key}`]), found.scores, words.scores));
    points.root.hidden = !(train.length + loss.length + metric.length);
    if (points.root.open) points.fill(pointsTable(found, train, loss, metric));
    drawSections(found);
  }

  points.root.addEventListener("toggle", () => points.root.open && draw());

  function drawCharts(found, train, loss, metric) {
    const few = train.length < 60;
    const total = found.over ? 0 : found.total;
    charts.loss.root.hidden = false; // each is as wide as what is shown leaves it
    charts.metric.root.hidden = !metric.length;
    curves.hidden = !(train.length + loss.length + metric.length);
    if (curves.hidden) return;
    charts.loss.draw({
      name: words["axis.loss"], total, best: loss.length ? found.best : 0,
      series: [
        { kind: "raw", points: few ? new Float32Array(0) : train },
        { kind: "train", label: words["axis.train"], points: few ? train : smoothed(train) },
        ...(loss.length ? [{ kind: "held-out", label: words["axis.held_out"], points: loss }] : []),
      ],
    });
    charts.metric.draw({ name: found.metric, total, best: found.best, series: [{ kind: "metric", label: words["axis.held_out"], points: metric }] });
  }

  function pointsTable(found, train, loss, metric) {
    const base = loss.length ? loss : metric.length ? metric : train;
    const stride = Math.ceil(base.length / 2 / MOST_TABLE_ROWS) || 1;
    const at = (curve, i, digits) => (curve.length ? nearest(curve, base[2 * i])[1].toPrecision(digits) : "");
    const rows = [];
    for (let i = 0; i < base.length / 2; i += stride) rows.push([grouped(base[2 * i]), at(train, i, 4), at(loss, i, 4), at(metric, i, 3)]);
    return plainTable([words["axis.step"], `${words["axis.loss"]}, ${words["axis.train"]}`, `${words["axis.loss"]}, ${words["axis.held_out"]}`, found.metric], rows);
  }

  function drawSections(found) {
    const key = JSON.stringify([found.sections, found.cell, found.folder]);
    if (sections.dataset.key === key) return;
    const open = new Set([...sections.children].filter((each) => each.open).map((each) => each.dataset.section));
    sections.dataset.key = key;
    const parts = found.sections.map((each) => [each.key, each.title, each.heads.length ? plainTable(each.heads, each.rows) : pairsTable(each.rows)]);
    parts.push(["folder", words.folder, node("pre", { class: "fm-code" }, found.folder)]);
    if (found.cell) parts.push(["cell", words.cell, node("pre", { class: "fm-code", tabindex: "0" }, found.cell)]);
    sections.replaceChildren(...parts.map(([part, title, content]) => {
      const made = folded(title);
      made.root.dataset.section = part;
      made.root.open = open.has(part);
      made.fill(content);
      return made.root;
    }));
  }

  return { root, draw, ask, focus: () => name.focus({ preventScroll: true }), hasQuestion: () => Boolean(asking) };
}

function folded(title) {
  const content = node("div", { class: "fm-table-area", tabindex: "0", role: "group", "aria-label": title }); // it scrolls
  const root = node("details", { class: "fm-section" }, node("summary", {}, title), content);
  return { root, fill: (made) => content.replaceChildren(made) };
}

function plainTable(heads, rows, caption = "") {
  return node("table", { class: "fm-table" }, ...(caption ? [node("caption", {}, caption)] : []),
    node("thead", {}, node("tr", {}, ...heads.map((head) => node("th", { scope: "col" }, head)))),
    node("tbody", {}, ...rows.map(([first, ...rest]) => node("tr", {}, node("th", { scope: "row" }, first), ...rest.map((cell) => node("td", {}, cell))))));
}

function pairsTable(rows) {
  return node("table", { class: "fm-table fm-pairs" }, node("tbody", {}, ...rows.map(([key, value]) => node("tr", {}, node("th", { scope: "row" }, key), node("td", {}, value)))));
}
