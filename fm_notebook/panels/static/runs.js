// The runs panel: what all views share, one view, and the module's exports. Its parts are runs_table.js, runs_opened.js and
// runs_compared.js, put before it. Words and rounded numbers come from Python; names are data and only ever text.

const SILENCE_MS = 10_000;
const PATIENCE_MS = 6_000;
const LOOK_MS = 2_000;

/** What all views of one model share: rows, details and curves by run, and when the kernel was last heard. */
function createStore(model) {
  const store = {
    words: model.get("words") || {},
    heads: model.get("heads") || [],
    states: model.get("states") || {},
    rows: new Map((model.get("rows") || []).map((row) => [row.id, row])),
    details: new Map(),
    curves: new Map(),
    heard: Date.now(),
    messages: 0,
    views: new Set(),
    answers: new Map(),
    asked: 0,
    me: Math.random().toString(36).slice(2),
    isAlive: () => [...store.rows.values()].some((row) => row.alive),
    /** Ask the kernel; `then` gets its answers to this. */
    ask(content, then = () => {}) {
      const asked = `${store.me}-${(store.asked += 1)}`;
      store.answers.set(asked, { then, until: Date.now() + PATIENCE_MS, verb: content.verb });
      model.send({ ...content, asked });
    },
    late: () => [...store.answers.values()].some((each) => each.until < Date.now() && !["export", "delete"].includes(each.verb)),
    show() {
      for (const view of store.views) view.draw();
    },
  };
  const take = {
    tick(message, buffers) {
      for (const row of message.rows) store.rows.set(row.id, row);
      for (const id of message.gone) for (const kept of [store.rows, store.details, store.curves]) kept.delete(id);
      for (const news of message.opened) {
        if (news.sections || store.details.has(news.id)) store.details.set(news.id, { ...store.details.get(news.id), ...news });
      }
      points(message.curves, buffers);
    },
    details: (message) => store.details.set(message.details.id, message.details),
    curves(message, buffers) {
      const empty = new Float32Array(0);
      store.curves.set(message.run, { name: message.metric, train: empty, loss: empty, metric: empty });
      points(message.curves, buffers);
    },
    beat() {},
  };
  function points(parts, buffers) {
    parts.forEach(([id, name, start], i) => {
      const kept = store.curves.get(id);
      if (!kept) return;
      if (start * 2 > kept[name].length) model.send({ type: "curves", run: id }); // a message was missed
      else kept[name] = replacedFrom(kept[name], start, floats(buffers[i]));
    });
  }
  model.on("msg:custom", (message, buffers) => {
    if (!message) return;
    store.heard = Date.now();
    store.messages += message.type === "beat" ? 0 : 1;
    take[message.type]?.(message, buffers);
    const answer = store.answers.get(message.asked);
    if (answer) {
      store.answers.delete(message.asked);
      answer.then(message);
    }
    store.show();
  });
  if (model.get("pull")) setInterval(() => store.views.size && model.send({ type: "look" }), LOOK_MS); // Colab shows nothing that a thread sends
  return store;
}

function createView(model, store, el) {
  const { words } = store;
  const view = { filter: "", state: "", column: "made", ascending: false, selected: new Set(), overlaid: [], opened: "", diff: null, said: "", mild: true, most: ROWS_AT_ONCE };
  const press = (label, action) => {
    const made = node("button", { type: "button", class: "fm-button fm-button-plain" }, label);
    made.addEventListener("click", action);
    return made;
  };
  const filter = node("input", { type: "search", class: "fm-input", placeholder: words.filter_hint, spellcheck: "false" });
  filter.addEventListener("input", () => {
    [view.filter, view.most] = [filter.value, ROWS_AT_ONCE];
    draw();
  });
  const state = node("select", { class: "fm-input" });
  state.addEventListener("change", () => {
    view.state = state.value;
    draw();
  });
  const count = node("span", { class: "fm-state", role: "status", "aria-live": "polite" });
  const said = node("div", { class: "fm-faults", role: "status", "aria-live": "polite", hidden: true });
  const overlay = press(words.overlay, () => {
    view.overlaid = inOrder().slice(0, 2 * MOST_OVERLAID);
    for (const id of view.overlaid) store.ask({ type: "curves", run: id }, complain);
    draw();
    compared.root.scrollIntoView({ block: "nearest" });
  });
  const compare = press(words.compare, () => store.ask({ type: "diff", runs: inOrder() }, (answer) => {
    if (complain(answer)) return;
    view.diff = answer;
    draw();
    diff.root.scrollIntoView({ block: "nearest" });
  }));
  const clear = press(words.clear, () => {
    view.selected.clear();
    [view.overlaid, view.diff] = [[], null];
    draw();
    filter.focus();
  });
  const chosen = node("span", { class: "fm-state" });
  const selection = node("div", { class: "fm-actions fm-selection", hidden: true }, chosen, overlay, compare, clear);
  const table = createTable(store, view, { open, select: () => draw() });
  const opened = createOpened(store, view, { act, copy, close: shut });
  const compared = createOverlay(store, view);
  const diff = createDiff(view);
  const root = node("section", { class: "fm-panel fm-runs", role: "region", "aria-label": words.region },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, node("span", { class: "fm-name" }, words.title), count),
      node("span", { class: "fm-actions" }, node("label", { class: "fm-field" }, words.filter, filter), node("label", { class: "fm-field" }, words.state, state))),
    said, table.root, selection, compared.root, diff.root, opened.root);

  const inOrder = () => [...view.selected].filter((id) => store.rows.has(id));

  // In JupyterLab a key typed on a button acts on the notebook ("b" inserts a cell); saving stays the notebook's.
  root.addEventListener("keydown", (event) => {
    if (!((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s")) event.stopPropagation();
    if (event.key !== "Escape") return;
    if (opened.hasQuestion()) opened.ask("");
    else if (opened.root.contains(event.target)) shut();
  });

  function open(id) {
    if (view.opened === id) return shut();
    if (view.opened) model.send({ type: "close", run: view.opened });
    [view.opened, view.said] = [id, ""];
    opened.ask("");
    store.ask({ type: "open", run: id }, complain);
    draw();
    opened.root.scrollIntoView({ block: "nearest" });
    opened.focus();
  }

  function shut() {
    const id = view.opened;
    view.opened = "";
    model.send({ type: "close", run: id });
    draw();
    table.focus(id);
  }

  function act(verb, path = "") {
    say(verb === "export" || verb === "delete" ? words.working : "", true);
    store.ask({ type: "do", verb, run: view.opened, path }, (answer) => complain(answer) || say(answer.said, true));
  }

  function complain(answer) {
    if (answer.type === "fault") say(answer.text, false);
    return answer.type === "fault";
  }

  function say(text, mild) {
    [view.said, view.mild] = [text, mild];
    draw();
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      say(words.copied, true);
    } catch (error) {
      say(words.copy_failed, false);
    }
  }

  function drawStates() {
    const there = [...new Set([...store.rows.values()].map((row) => row.state))].sort();
    const options = [["", words.any_state], ["alive", words.alive_state], ...there.map((each) => [each, store.states[each] || each])];
    const key = JSON.stringify(options);
    if (state.dataset.key === key || document.activeElement === state) return; // never under the user's hand
    state.dataset.key = key;
    state.replaceChildren(...options.map(([value, text]) => node("option", { value }, text)));
    state.value = view.state;
  }

  function drawSaid() {
    const silent = store.isAlive() && Date.now() - store.heard > SILENCE_MS;
    const lines = [view.said, silent ? words.silent : store.late() ? words.unanswered : ""].filter(Boolean);
    setText(said, lines.join("\n"));
    said.hidden = !lines.length;
    said.classList.toggle("fm-mild", view.mild && !silent);
  }

  function draw() {
    try {
      for (const id of view.selected) if (!store.rows.has(id)) view.selected.delete(id);
      if (view.opened && !store.rows.has(view.opened)) view.opened = "";
      view.overlaid = view.overlaid.filter((id) => view.selected.has(id));
      drawStates();
      drawSaid();
      const shown = table.draw();
      const total = grouped(store.rows.size);
      const all = store.rows.size === 1 ? words.count_one : filled(words.count, { count: total });
      setText(count, shown === store.rows.size ? all : filled(words.count_shown, { shown: grouped(shown), count: total }));
      selection.hidden = !view.selected.size;
      setText(chosen, filled(words.selected, { count: view.selected.size }));
      compare.disabled = view.selected.size !== 2;
      compare.title = compare.disabled ? words.compare_hint : "";
      if (view.diff && !view.diff.runs.every((id) => view.selected.has(id))) view.diff = null;
      for (const part of [compared, diff, opened]) part.draw();
      root.dataset.rows = store.rows.size;
      root.dataset.messages = store.messages;
    } catch (error) {
      setText(said, `${words.display_fault}\n${error}`); // a throw inside a message handler would vanish without a line
      said.hidden = false;
    }
  }

  const forget = leaveFocus(root);
  el.append(root);
  return { root, draw, forget };
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
      store.views.add(view);
      view.draw();
      let width = 0;
      const resized = new ResizeObserver(() => {
        if (view.root.clientWidth !== width) view.draw(); // a longer table is no reason to draw
        width = view.root.clientWidth;
      });
      resized.observe(view.root);
      const clock = setInterval(() => (store.isAlive() || store.answers.size) && view.draw(), 1000);
      return () => {
        clearInterval(clock);
        resized.disconnect();
        view.forget();
        store.views.delete(view);
      };
    },
  };
};
