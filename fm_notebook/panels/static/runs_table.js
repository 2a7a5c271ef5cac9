// The table of the runs panel: one row a run; sorting, filtering and selecting are the page's alone.

const ROWS_AT_ONCE = 200;
const NUMERIC = ["metric", "duration", "made"];

/** Ids of `rows` that match, in order. What has no value stands last, whichever way it is sorted. */
function arranged(rows, { filter, state, column, ascending }, heads) {
  const wanted = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const place = heads.findIndex(([name]) => name === column);
  const by = (row) => (NUMERIC.includes(column) ? row.sort[column] : row.cells[place] || null);
  const found = [...rows.values()].filter((row) => {
    if (state === "alive" ? !row.alive : state && row.state !== state) return false;
    const text = [...row.cells, ...Object.values(row.full)].join(" ").toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
  const order = new Intl.Collator(undefined, { numeric: true });
  found.sort((a, b) => {
    const [x, y] = [by(a), by(b)];
    if (x === null || y === null) return (x === null) - (y === null) || order.compare(a.id, b.id);
    const found = typeof x === "number" ? x - y : order.compare(x, y);
    return (ascending ? found : -found) || b.sort.made - a.sort.made;
  });
  return found.map((row) => row.id);
}

/** `view` has the choices, `on.open(id)` and `on.select()`; the table tells these what was clicked. */
function createTable(store, view, on) {
  const { words, heads } = store;
  const all = node("input", { type: "checkbox", class: "fm-check", "aria-label": words.select_all });
  const sorters = heads.map(([name, text]) => {
    const button = node("button", { type: "button", class: "fm-sort" }, text);
    button.addEventListener("click", () => {
      if (view.column === name) view.ascending = !view.ascending;
      else [view.column, view.ascending] = [name, !NUMERIC.includes(name)];
      draw();
    });
    return node("th", { scope: "col", class: `fm-col-${name}` }, button);
  });
  const body = node("tbody");
  const table = node("table", { class: "fm-table fm-runs-table", "aria-label": words.region },
    node("thead", {}, node("tr", {}, node("td", { class: "fm-col-check" }, all), ...sorters)), body);
  const more = node("button", { type: "button", class: "fm-button fm-button-link" });
  const none = node("p", { class: "fm-empty" });
  const area = node("div", { class: "fm-runs-area", tabindex: "0", role: "group", "aria-label": words.region }, table);
  const root = node("div", {}, area, none, more);
  const made = new Map();
  let shown = [];

  all.addEventListener("change", () => {
    for (const id of shown) all.checked ? view.selected.add(id) : view.selected.delete(id);
    on.select();
  });
  more.addEventListener("click", () => {
    view.most += ROWS_AT_ONCE;
    const before = body.children.length;
    draw();
    body.children[before]?.querySelector("button").focus();
  });

  function makeRow(id) {
    const check = node("input", { type: "checkbox", class: "fm-check", "aria-label": filled(words.select, { name: id }) });
    check.addEventListener("change", () => {
      check.checked ? view.selected.add(id) : view.selected.delete(id);
      on.select();
    });
    const open = node("button", { type: "button", class: "fm-open", "aria-label": filled(words.open, { name: id }) });
    open.addEventListener("click", () => on.open(id));
    const cells = heads.map(([name], i) => (i ? node("td", { class: `fm-col-${name}` }) : node("th", { scope: "row" }, open)));
    const row = node("tr", { "data-run": id }, node("td", { class: "fm-col-check" }, check), ...cells);
    return { row, check, open, cells, seen: null };
  }

  function fill(each, run) {
    each.check.checked = view.selected.has(run.id);
    each.open.setAttribute("aria-expanded", view.opened === run.id);
    each.row.classList.toggle("fm-is-open", view.opened === run.id);
    if (each.seen === run) return;
    each.seen = run;
    each.row.dataset.state = run.state;
    run.cells.forEach((text, i) => setText(i ? each.cells[i] : each.open, text));
    heads.forEach(([name], i) => {
      if (run.full[name]) each.cells[i].title = run.full[name];
    });
  }

  function draw() {
    const ids = arranged(store.rows, view, heads);
    const now = ids.slice(0, view.most);
    for (const id of made.keys()) if (!store.rows.has(id)) made.delete(id);
    for (const id of now) {
      if (!made.has(id)) made.set(id, makeRow(id));
      fill(made.get(id), store.rows.get(id));
    }
    if (now.length !== shown.length || now.some((id, i) => id !== shown[i])) {
      const focused = body.contains(document.activeElement) ? document.activeElement : null;
      body.replaceChildren(...now.map((id) => made.get(id).row));
      if (focused && body.contains(focused)) focused.focus({ preventScroll: true }); // a moved row loses it
    }
    shown = now;
    heads.forEach(([name], i) => sorters[i].setAttribute("aria-sort", name !== view.column ? "none" : view.ascending ? "ascending" : "descending"));
    const chosen = now.filter((id) => view.selected.has(id)).length;
    all.checked = chosen > 0 && chosen === now.length;
    all.indeterminate = chosen > 0 && chosen < now.length;
    area.hidden = !store.rows.size;
    none.hidden = ids.length > 0;
    setText(none, store.rows.size ? words.no_match : words.none);
    more.hidden = ids.length <= now.length;
    setText(more, filled(words.more, { count: Math.min(ROWS_AT_ONCE, ids.length - now.length) }));
    return ids.length;
  }

  return { root, draw, focus: (id) => made.get(id)?.open.focus() };
}
