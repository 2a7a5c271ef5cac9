// The inspection panel's table: the rows of one page, sorted by the kernel. marks.js and pager.js are put before it.

/** `on.look(changes)`, `on.open(at)` and `on.select(places, on)` are told what was clicked. */
function createRows(store, on) {
  const { words, about } = store;
  const all = node("input", { type: "checkbox", class: "fm-check", "aria-label": words.select_page });
  all.addEventListener("change", () => on.select(store.shown.rows.map((row) => row.at), all.checked));
  const heads = about.heads.map((head) => {
    if (!head.by) return node("th", { scope: "col", class: "fm-col-text" }, node("span", { class: "fm-sort" }, head.title));
    const button = node("button", { type: "button", class: "fm-sort" }, head.title);
    button.addEventListener("click", () => {
      const { sort } = store.wanted;
      const descending = sort.by === head.by ? !sort.descending : head.number && head.by !== "row" && head.by !== "margin";
      on.look({ sort: { by: head.by, descending } });
    });
    return node("th", { scope: "col", class: head.number ? "fm-number" : "" }, button);
  });
  const body = node("tbody");
  const table = node("table", { class: "fm-rows", "aria-label": words.region }, node("thead", {}, node("tr", {}, node("td", { class: "fm-col-check" }, all), ...heads)), body);
  const area = node("div", { class: "fm-rows-area", tabindex: "0", role: "group", "aria-label": words.region }, table);
  const none = node("p", { class: "fm-empty" }, words.no_rows);

  const pager = createPager(store, words.sizes, on);
  const root = node("div", {}, area, none, pager.root);

  function row(each) {
    const [name, text, truth, said, ...others] = each.cells;
    const check = node("input", { type: "checkbox", class: "fm-check", "aria-label": filled(words.select, { row: name }), "data-check": each.at });
    check.checked = each.selected;
    check.addEventListener("change", () => on.select([each.at], check.checked));
    const isOpen = store.shown.opened?.at === each.at;
    const open = node("button", { type: "button", class: "fm-open", "aria-label": filled(words.open, { row: name }), "aria-expanded": String(isOpen), "data-open": each.at }, name);
    open.addEventListener("click", () => on.open(each.at));
    const badges = [each.suspect && words.row_suspect, each.noted && words.row_has_note].filter(Boolean);
    const content = node("td", { class: "fm-col-text" }, node("div", { class: "fm-beside" }, node("span", { class: "fm-clamp" }, ...withMarks(text, store.shown.slice.contains)),
      ...badges.map((badge) => node("span", { class: "fm-badge" }, badge))));
    content.addEventListener("click", () => String(document.getSelection()) || on.open(each.at)); // a text that is being marked is not opened
    const outcome = each.right ? words.is_right : words.is_wrong;
    const made = node("tr", { "data-at": each.at, class: isOpen ? "fm-is-open" : "" }, node("td", { class: "fm-col-check" }, check), node("th", { scope: "row", class: "fm-number" }, open),
      content, node("td", {}, truth), node("td", {}, node("span", { class: each.right ? "fm-right" : "fm-wrong", role: "img", "aria-label": outcome, title: outcome }), said),
      ...others.map((cell, i) => node("td", { class: about.heads[i + 4].number ? "fm-number" : "" }, cell)));
    return made;
  }

  function draw() {
    const { shown } = store;
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset : null;
    const [kind, at] = focused ? Object.entries(focused)[0] || [] : [];
    body.replaceChildren(...shown.rows.map(row));
    if (kind) body.querySelector(`[data-${kind}="${at}"]`)?.focus({ preventScroll: true });
    heads.forEach((head, i) => {
      const { by } = about.heads[i];
      if (by) head.setAttribute("aria-sort", by !== shown.sort.by ? "none" : shown.sort.descending ? "descending" : "ascending");
    });
    const chosen = shown.rows.filter((each) => each.selected).length;
    all.checked = chosen > 0 && chosen === shown.rows.length;
    all.indeterminate = chosen > 0 && chosen < shown.rows.length;
    area.hidden = !shown.n;
    none.hidden = Boolean(shown.n);
    pager.draw();
  }

  return { root, draw, focus: (at) => body.querySelector(`[data-open="${at}"]`)?.focus() };
}
