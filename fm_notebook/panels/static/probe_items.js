// The items panel of a probe: a list that the kernel sends page by page, and one item opened. attribution.js colours its tokens;
// marks.js and pager.js are shared with the inspection of rows. No item is kept in the widget's state: the page asks for all.

const PATIENCE_MS = 5_000;
const TYPING_MS = 100;
const ALL_ITEMS = { axis: null, outcome: null, contains: "" };

/** What all views of one model share: the view that the kernel shows, and the one that was asked for. */
function createStore(model) {
  const store = {
    words: model.get("words") || {},
    about: model.get("about") || {},
    shown: null,
    wanted: null,
    typing: false,
    fault: "",
    waits: new Map(),
    views: new Set(),
    asked: 0,
    me: Math.random().toString(36).slice(2),
    ask(content) {
      const asked = `${store.me}-${(store.asked += 1)}`;
      store.waits.set(asked, Date.now());
      store.fault = "";
      model.send({ ...content, asked });
    },
    /** Ask for another view: what is not in `changes` stays, but the page, which is the first again. */
    look(changes) {
      store.typing = false;
      store.wanted = { ...store.wanted, page: 0, ...changes };
      store.ask({ type: "show", ...store.wanted });
      store.show();
    },
    open: (at) => store.ask({ type: "open", at }),
    late: () => [...store.waits.values()].some((since) => Date.now() - since > PATIENCE_MS),
    show() {
      for (const view of store.views) view.draw();
    },
  };
  const agree = () => {
    if (store.typing || !store.shown) return;
    const { slice, sort, page, size } = store.shown;
    store.wanted = { slice, sort, page, size };
  };
  model.on("msg:custom", (message) => {
    if (!message) return;
    store.waits.delete(message.asked);
    if (message.type === "shown") {
      store.shown = message.shown;
      if (!store.waits.size || !store.wanted) agree();
    } else if (message.type === "opened" && store.shown) store.shown = { ...store.shown, opened: message.opened };
    else if (message.type === "fault") {
      store.fault = message.text;
      agree();
    }
    store.show();
  });
  store.ask({ type: "hello" });
  return store;
}

/** The fields that narrow the list down. A field under the user's hand is never written over. */
function createFilter(store) {
  const { words, about } = store;
  const change = (part) => store.look({ slice: { ...store.wanted.slice, ...part } });
  const field = (label, input) => node("label", { class: "fm-field" }, node("span", { class: "fm-label" }, label), input);
  const contains = node("input", { type: "search", class: "fm-input", placeholder: words.contains_hint, spellcheck: "false" });
  let typing = 0;
  contains.addEventListener("input", () => {
    if (!store.wanted) return;
    store.wanted = { ...store.wanted, page: 0, slice: { ...store.wanted.slice, contains: contains.value } };
    store.typing = true;
    clearTimeout(typing);
    typing = setTimeout(() => store.look({}), TYPING_MS);
  });
  const choice = (options, key) => {
    const made = node("select", { class: "fm-input" }, node("option", { value: "" }, words.any), ...options.map((each, i) => node("option", { value: String(i) }, each.title)));
    made.addEventListener("change", () => change({ [key]: made.value === "" ? null : options[Number(made.value)].value }));
    return made;
  };
  const [axis, outcome] = [choice(about.axes, "axis"), choice(about.outcomes, "outcome")];
  const clear = node("button", { type: "button", class: "fm-button" }, words.clear_slice);
  clear.addEventListener("click", () => {
    contains.value = "";
    store.look({ slice: ALL_ITEMS });
    contains.focus();
  });
  const root = node("section", { class: "fm-slice", role: "region", "aria-label": words.slice },
    node("div", { class: "fm-fields" }, field(words.contains, contains), field(words.axis, axis), field(words.outcome, outcome), node("div", { class: "fm-clear" }, clear)));

  function draw() {
    const { slice } = store.wanted;
    const at = (options, value) => (value === null ? "" : String(options.findIndex((each) => each.value === value)));
    if (document.activeElement !== contains) contains.value = slice.contains;
    axis.value = at(about.axes, slice.axis);
    outcome.value = at(about.outcomes, slice.outcome);
    clear.disabled = slice.axis === null && slice.outcome === null && !slice.contains;
  }

  return { root, draw };
}

function createList(store) {
  const { words, about } = store;
  const heads = about.heads.map((head) => {
    const kind = head.text ? "fm-col-text" : head.number ? "fm-number" : "";
    if (!head.by) return node("th", { scope: "col", class: kind }, node("span", { class: "fm-sort" }, head.title));
    const button = node("button", { type: "button", class: "fm-sort" }, head.title);
    button.addEventListener("click", () => {
      const { sort } = store.wanted;
      store.look({ sort: { by: head.by, descending: sort.by === head.by ? !sort.descending : head.number && head.by !== "item" } });
    });
    return node("th", { scope: "col", class: kind }, button);
  });
  const body = node("tbody");
  const table = node("table", { class: "fm-rows", "aria-label": words.region }, node("thead", {}, node("tr", {}, ...heads)), body);
  const area = node("div", { class: "fm-rows-area", tabindex: "0", role: "group", "aria-label": words.region }, table);
  const none = node("p", { class: "fm-empty" }, words.no_items);
  const pager = createPager(store, about.sizes, store);
  const root = node("div", {}, area, none, pager.root);

  function cell(each, text, head) {
    if (!head.text) return node("td", { class: head.number ? "fm-number" : "" }, text);
    const made = node("td", { class: "fm-col-text" }, node("span", { class: "fm-clamp" }, ...withMarks(text, store.shown.slice.contains)));
    made.addEventListener("click", () => String(document.getSelection()) || toggle(each.at)); // a text that is being marked is not opened
    return made;
  }

  function toggle(at) {
    store.open(store.shown.opened?.at === at ? null : at);
  }

  function row(each) {
    const [name, ...cells] = each.cells;
    const isOpen = store.shown.opened?.at === each.at;
    const open = node("button", { type: "button", class: "fm-open", "aria-label": filled(words.open, { item: name }), "aria-expanded": String(isOpen), "data-open": each.at }, name);
    open.addEventListener("click", () => toggle(each.at));
    return node("tr", { "data-at": each.at, class: isOpen ? "fm-is-open" : "" }, node("th", { scope: "row", class: "fm-number" }, open),
      ...cells.map((text, i) => cell(each, text, about.heads[i + 1])));
  }

  function draw() {
    const { shown } = store;
    const at = body.contains(document.activeElement) ? document.activeElement.dataset.open : null;
    body.replaceChildren(...shown.rows.map(row));
    if (at) body.querySelector(`[data-open="${at}"]`)?.focus({ preventScroll: true });
    heads.forEach((head, i) => {
      const { by } = about.heads[i];
      if (by) head.setAttribute("aria-sort", by !== shown.sort.by ? "none" : shown.sort.descending ? "descending" : "ascending");
    });
    area.hidden = !shown.n;
    none.hidden = Boolean(shown.n);
    pager.draw();
  }

  return { root, draw, focus: (at) => body.querySelector(`[data-open="${at}"]`)?.focus() };
}

/** The item that is open: its texts, coloured where its tokens add up to its number, and its other columns. */
function createItem(store, shut) {
  const { words } = store;
  const press = (label, action, kind = "") => {
    const made = node("button", { type: "button", class: `fm-button ${kind}` }, label);
    made.addEventListener("click", action);
    return made;
  };
  const title = node("h3", { class: "fm-name", tabindex: "-1" });
  const badges = node("span", { class: "fm-badges" });
  const step = (by) => () => {
    const places = store.shown.rows.map((row) => row.at);
    const to = places[places.indexOf(store.shown.opened.at) + by];
    if (to !== undefined) store.open(to);
  };
  const turns = [[press("‹", step(-1), "fm-turn"), words.previous_item], [press("›", step(1), "fm-turn"), words.next_item]];
  for (const [button, label] of turns) {
    button.setAttribute("aria-label", label);
    button.title = label;
  }
  const [[before], [after]] = turns;
  const value = node("div", { class: "fm-facts" });
  const texts = node("div", { class: "fm-item-texts" });
  const colours = node("div", { class: "fm-explained" });
  const facts = node("div", { class: "fm-facts" });
  const root = node("section", { class: "fm-details", role: "region", "aria-label": words.details, hidden: true },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, title, badges), node("span", { class: "fm-actions" }, before, after, press(words.close, shut))),
    value, texts, colours, facts);
  let at = null;

  const fact = ([name, said]) => node("span", {}, node("span", { class: "fm-label" }, name), node("span", { class: "fm-value" }, said));
  const badge = (said) => node("span", { class: "fm-badge" }, said);
  const whole = (each, isAlone) => node("div", {},
    node("div", { class: "fm-label" }, each.title, ...(each.badges.length ? [node("span", { class: "fm-badges" }, ...each.badges.map(badge))] : [])),
    ...(isAlone ? [node("p", { class: "fm-whole", tabindex: "0", role: "group", "aria-label": each.title }, ...withMarks(each.text, store.shown.slice.contains))] : []));

  function draw() {
    const { opened } = store.shown;
    root.hidden = !opened;
    if (!opened) {
      at = null;
      return;
    }
    const places = store.shown.rows.map((row) => row.at);
    before.disabled = places.indexOf(opened.at) <= 0;
    after.disabled = !places.includes(opened.at) || places.indexOf(opened.at) === places.length - 1;
    if (opened.at === at) return;
    at = opened.at;
    setText(title, opened.title);
    badges.replaceChildren(...opened.badges.map(badge));
    value.replaceChildren(fact([opened.value_title, opened.value]), ...(opened.coloured ? opened.texts.filter((each) => each.badges.length).map((each) => fact([each.title, each.badges.join(" · ")])) : []));
    texts.hidden = Boolean(opened.coloured);
    texts.replaceChildren(...(opened.coloured ? [] : opened.texts.map((each) => whole(each, true))));
    colours.replaceChildren();
    if (opened.coloured) attributionView(colours, opened.coloured);
    facts.replaceChildren(...opened.facts.map(fact));
  }

  return { root, draw, focus: () => title.focus({ preventScroll: true }) };
}

function createView(store, el) {
  const { words, about } = store;
  const count = node("span", { class: "fm-state", role: "status", "aria-live": "polite" });
  const said = node("div", { class: "fm-faults", role: "status", "aria-live": "polite", hidden: true });
  const [filter, list, item] = [createFilter(store), createList(store), createItem(store, shut)];
  const body = node("div", { hidden: true }, node("div", { class: "fm-filter" }, filter.root), list.root, item.root, node("p", { class: "fm-hint" }, about.hint));
  const root = node("section", { class: "fm-panel fm-inspect fm-items", role: "region", "aria-label": words.region },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, node("span", { class: "fm-name" }, about.title), count)), said, body);
  let openedBefore = null;

  // In JupyterLab a key typed on a button acts on the notebook ("b" inserts a cell); saving stays the notebook's.
  root.addEventListener("keydown", (event) => {
    if (!((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s")) event.stopPropagation();
    if (event.key === "Escape" && item.root.contains(event.target)) shut();
  });

  function shut() {
    const at = store.shown.opened?.at;
    store.open(null);
    list.focus(at);
  }

  function draw() {
    try {
      const text = store.late() ? words.unanswered : store.fault;
      setText(said, text);
      said.hidden = !text;
      root.dataset.busy = store.waits.size;
      if (!store.shown) return;
      body.hidden = false;
      root.dataset.n = store.shown.n;
      setText(count, filled(words.count_shown, { n: grouped(store.shown.n), total: grouped(about.total) }));
      for (const part of [filter, list, item]) part.draw();
      const opened = store.shown.opened?.at ?? null;
      if (opened !== null && opened !== openedBefore && root.contains(document.activeElement)) {
        item.root.scrollIntoView({ block: "nearest" });
        item.focus();
      }
      openedBefore = opened;
    } catch (error) {
      setText(said, `${words.display_fault}\n${error}`); // a throw inside a message handler would vanish without a line
      said.hidden = false;
    }
  }

  el.append(root);
  return { root, draw, forget: leaveFocus(root) };
}

export default () => {
  let store = null;
  return {
    initialize({ model }) {
      store = createStore(model);
    },
    render({ model, el }) {
      store = store || createStore(model);
      const view = createView(store, el);
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
