// The live panel of a job. Plain ES module, no bundler, ipywidgets >= 7.6 and anywidget >= 0.9 API only.
//
// Words and rounded numbers come from Python, here is drawing alone. Text enters the page through textContent only: run
// names, notes and metric names are data. `initialize` and `render` get different proxies of the model, so what they share
// lives in the closure that the default export makes once a model.

const SILENCE_MS = 10_000;
const MOST_TABLE_ROWS = 100;

// -------------------------------------------------------------------------------------------------------------------- store

/** What all views of one model share: the newest state, the curves, and when the kernel was last heard. */
function createStore(model) {
  const store = {
    words: model.get("words") || {},
    late: Boolean(model.get("late")),
    state: model.get("state") || {},
    curves: Object.fromEntries(CURVES.map((name) => [name, floats((model.get("curves") || {})[name])])),
    looks: model.get("looks") || [],
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
    store.looks = message.looks || store.looks; // sent where there are new ones
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
  const drawLooks = createLooks(words, curves);
  const scores = node("div", { class: "fm-scores" });
  const notes = node("ul", { class: "fm-notes" });
  const tableArea = node("div", { class: "fm-table-area", role: "group", "aria-label": words.table_caption, tabindex: 0, hidden: true }); // it scrolls
  const tableButton = button(words.show_table, "link", () => { tableArea.hidden = !tableArea.hidden; draw(); });
  const openButton = button(words.show_curves, "link", () => { opened = !isOpen(); draw(); });
  const body = node("div", { class: "fm-body" }, empty, curves, scores);
  const foot = node("div", { class: "fm-foot" }, openButton, tableButton);
  const root = node("section", { class: "fm-panel fm-progress", role: "region" },
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
    if (isOpen() && has) {
      drawCharts(state);
      drawLooks(store.looks, state.over ? 0 : state.total);
    }
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

  const forget = leaveFocus(root);
  el.append(root);
  return { root, draw: safely, forget };
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
