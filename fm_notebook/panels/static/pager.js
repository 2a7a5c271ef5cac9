// What leads to other pages of a list that the kernel sends page by page.

/** `store.shown` has page, pages, size and n; `on.look(changes)` asks for another page or size. */
function createPager(store, sizes, on) {
  const { words } = store;
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
  const size = node("select", { class: "fm-input" }, ...sizes.map((each) => node("option", { value: each }, String(each))));
  size.addEventListener("change", () => on.look({ size: Number(size.value), page: 0 }));
  const root = node("nav", { class: "fm-pager", "aria-label": words.page }, turns[0], turns[1], number, of, turns[2], turns[3],
    node("label", { class: "fm-perpage" }, words.per_page, size));

  function draw() {
    const { shown } = store;
    root.hidden = !shown.n;
    turns[0].disabled = turns[1].disabled = shown.page === 0;
    turns[2].disabled = turns[3].disabled = shown.page >= last();
    if (document.activeElement !== number) number.value = shown.page + 1;
    number.max = shown.pages;
    setText(of, filled(words.of_pages, { pages: grouped(shown.pages) }));
    size.value = shown.size;
  }

  return { root, draw };
}
