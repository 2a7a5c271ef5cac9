// The inspection panel: what all views share, one view, and the module's exports. Its parts are inspect_slice.js,
// inspect_table.js and inspect_opened.js, put before it. Words and rounded numbers come from Python; texts of rows are data.

const PATIENCE_MS = 5_000;
const NO_SLICE = { true: null, predicted: null, right: null, contains: "", groups: {}, shortest: null, longest: null, suspects: false, noted: false, near: null };

/** What all views of one model share: the view that the kernel shows, and the one that was asked for. */
function createStore(model) {
  const store = {
    words: model.get("words") || {},
    about: model.get("about") || {},
    variable: model.get("variable") || "",
    shown: model.get("shown") || {},
    wanted: null,
    typing: false,
    said: "",
    fault: false,
    waits: new Map(),
    views: new Set(),
    asked: 0,
    me: Math.random().toString(36).slice(2),
    explained: model.get("explained") || {},
    ask(content) {
      const asked = `${store.me}-${(store.asked += 1)}`;
      store.waits.set(asked, { since: Date.now(), began: performance.now(), kind: content.type });
      [store.said, store.fault] = ["", false];
      model.send({ ...content, asked });
    },
    /** Ask for another view: what is not in `changes` stays, but the page, which is the first again. */
    look(changes) {
      store.typing = false;
      store.wanted = { ...store.wanted, page: 0, ...changes, slice: { ...NO_SLICE, ...(changes.slice || store.wanted.slice) } };
      if (store.wanted.slice.near === null && store.wanted.sort.by === "similarity") store.wanted.sort = { by: "loss", descending: true };
      store.ask({ type: "show", ...store.wanted });
      for (const view of store.views) view.choose();
    },
    late: () => [...store.waits.values()].some((each) => each.kind !== "near" && Date.now() - each.since > PATIENCE_MS),
    show() {
      for (const view of store.views) view.draw();
    },
  };
  const take = {
    shown(message) {
      store.shown = message.shown;
      if (message.asked === null || message.asked === undefined || store.waits.size === 0) agree();
    },
    opened(message) {
      store.shown = { ...store.shown, opened: message.opened };
    },
    said(message) {
      [store.said, store.fault] = [message.text, false];
    },
    fault(message) {
      [store.said, store.fault] = [message.text, true];
      agree();
    },
    explained(message) {
      store.explained = message.explained;
      for (const [asked, wait] of store.waits) if (wait.kind === "explain") store.waits.delete(asked);
    },
  };
  const agree = () => {
    if (store.typing) return;
    const { slice, sort, page, size } = store.shown;
    store.wanted = { slice: { ...NO_SLICE, ...slice }, sort, page, size };
  };
  agree();
  model.on("msg:custom", (message) => {
    if (!message) return;
    const wait = store.waits.get(message.asked);
    store.waits.delete(message.asked);
    take[message.type]?.(message);
    store.show();
    if (wait) for (const view of store.views) view.timed(performance.now() - wait.began);
  });
  return store;
}

function createView(model, store, el) {
  const { words, about } = store;
  const count = node("span", { class: "fm-state", role: "status", "aria-live": "polite" });
  const facts = node("div", { class: "fm-facts" });
  const notes = node("ul", { class: "fm-notes" });
  const said = node("div", { class: "fm-faults fm-mild", role: "status", "aria-live": "polite", hidden: true });
  const confusion = createConfusion(store, store);
  const slice = createSlice(store, store);
  const rows = createRows(store, { look: store.look, open, select: (at, on) => store.ask({ type: "select", at, on }) });
  const details = createDetails(store, {
    open: (at) => open(at, true),
    close: shut,
    note: (at, text) => store.ask({ type: "note", at, text }),
    near: (at) => store.ask({ type: "near", at }),
    explain: (at, more) => store.ask({ type: "explain", at, ...more }),
  });
  const press = (label, action) => {
    const made = node("button", { type: "button", class: "fm-button" }, label);
    made.addEventListener("click", action);
    return made;
  };
  const chosen = node("span", { class: "fm-state" });
  const clear = press(words.clear_selection, () => store.ask({ type: "clear" }));
  const python = node("code", { class: "fm-python" }, filled(words.python, { name: store.variable }));
  const selection = node("div", { class: "fm-actions fm-selection" }, chosen, clear, ...(store.variable ? [python] : []));
  const freeze = ["slice", "confusion", "table"].map((what) => press(words[`freeze_${what}`], () => store.ask({ type: "freeze", what })));
  freeze[2].title = words.freeze_hint;
  const foot = node("div", { class: "fm-actions fm-freeze" }, node("span", { class: "fm-state" }, words.freeze), ...freeze);
  const root = node("section", { class: "fm-panel fm-inspect", role: "region", "aria-label": words.region },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, node("span", { class: "fm-name" }, about.title), count)),
    facts, notes, node("div", { class: "fm-chooser" }, confusion.root, slice.root), said, rows.root, selection, details.root, foot);

  // In JupyterLab a key typed on a button acts on the notebook ("b" inserts a cell); saving stays the notebook's.
  root.addEventListener("keydown", (event) => {
    if (!((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s")) event.stopPropagation();
    if (event.key === "Escape" && details.root.contains(event.target)) shut();
  });

  function open(at, kept = false) {
    if (store.shown.opened?.at === at) return kept ? undefined : shut();
    store.ask({ type: "open", at });
    focusing = true;
  }

  function shut() {
    const at = store.shown.opened?.at;
    store.ask({ type: "open", at: null });
    rows.focus(at);
  }

  let focusing = false;

  /** What was pressed shows at once; the rows follow when they come. */
  function choose() {
    confusion.draw();
    slice.draw();
    root.dataset.busy = store.waits.size;
  }

  function draw() {
    try {
      const { shown } = store;
      const total = grouped(about.total);
      setText(count, filled(words.count_shown, { n: grouped(shown.n), total }));
      facts.replaceChildren(...shown.facts.map(([name, value]) => node("span", {}, node("span", { class: "fm-label" }, name), node("span", { class: "fm-value" }, value))));
      notes.replaceChildren(...shown.notes.map((text) => node("li", { class: "fm-note" }, text)));
      const text = store.late() ? words.unanswered : store.said;
      setText(said, text);
      said.hidden = !text;
      said.classList.toggle("fm-mild", !store.fault);
      for (const part of [confusion, slice, rows, details]) part.draw();
      setText(chosen, filled(words.selected, { count: grouped(shown.selected) }));
      selection.hidden = !shown.selected && !store.variable;
      clear.hidden = !shown.selected;
      root.dataset.n = shown.n;
      root.dataset.busy = store.waits.size;
      if (focusing && shown.opened) {
        focusing = false;
        details.root.scrollIntoView({ block: "nearest" });
        details.focus();
      }
    } catch (error) {
      setText(said, `${words.display_fault}\n${error}`); // a throw inside a message handler would vanish without a line
      said.hidden = false;
    }
  }

  const forget = leaveFocus(root);
  el.append(root);
  return {
    root, draw, choose,
    timed: (milliseconds) => (root.dataset.milliseconds = milliseconds.toFixed(1)), // from a click to what it changed on the page
    forget,
  };
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
      const clock = setInterval(() => store.waits.size && view.draw(), 1000);
      return () => {
        clearInterval(clock);
        view.forget();
        store.views.delete(view);
      };
    },
  };
};
