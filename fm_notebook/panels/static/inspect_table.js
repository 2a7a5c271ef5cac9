// The inspection panel's table: the rows of one page, sorted by the kernel, with what leads to other pages.

/** `text` with the places where `part` occurs marked, as nodes. Where lower case changes lengths, nothing is. */
function withMarks(text, part) {
  const [low, wanted] = [text.toLowerCase(), (part || "").trim().toLowerCase()];
  if (!wanted || low.length !== text.length) return [document.createTextNode(text)];
  const nodes = [];
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    nodes.push(document.createTextNode(text.slice(from, at)), node("mark", { class: "fm-mark" }, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...nodes, document.createTextNode(text.slice(from))];
}

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

  const turn = (label, sign, to) => {
    const made = node("button", { type: "button", class: "fm-button fm-turn", "aria-label": label, title: label }, sign);
    made.addEventListener("click", () => on.look({ page: to() }));
    return made;
  };
  const last = () => store.shown.pages - 1;
  const turns = [turn(words.first, "«", () => 0), turn(words.previous, "‹", () => store.shown.page - 1), turn(words.next, "›", () => store.shown.page + 1), turn(words.last, "»", last)];
  const number = node("input", { type: "number", min: "1", class: "fm-input fm-short", "aria-label": words.page });
  number.addEventListener("change", () => on.look({ page: Math.min(last(), Math.max(0, Math.round(Number(number.value)) - 1 || 0)) }));
  const of = node("span", { class: "fm-state" });
  const size = node("select", { class: "fm-input" }, ...words.sizes.map((each) => node("option", { value: each }, String(each))));
  size.addEventListener("change", () => on.look({ size: Number(size.value), page: 0 }));
  const pager = node("nav", { class: "fm-pager", "aria-label": words.page }, turns[0], turns[1], number, of, turns[2], turns[3],
    node("label", { class: "fm-perpage" }, words.per_page, size));
  const root = node("div", {}, area, none, pager);

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
    area.hidden = pager.hidden = !shown.n;
    none.hidden = Boolean(shown.n);
    turns[0].disabled = turns[1].disabled = shown.page === 0;
    turns[2].disabled = turns[3].disabled = shown.page >= last();
    if (document.activeElement !== number) number.value = shown.page + 1;
    number.max = shown.pages;
    setText(of, filled(words.of_pages, { pages: grouped(shown.pages) }));
    size.value = shown.size;
  }

  return { root, draw, focus: (at) => body.querySelector(`[data-open="${at}"]`)?.focus() };
}
