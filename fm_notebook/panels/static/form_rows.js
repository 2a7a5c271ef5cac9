
// ------------------------------------------------------------------------------------------------- rows and balance of labels
//
// They are on this page only: nothing of them goes back or is kept in the widget's state.

function formTable(heads, rows, caption) {
  return node("table", { class: "fm-table" }, node("caption", {}, caption),
    node("thead", {}, node("tr", {}, ...heads.map((head) => node("th", { scope: "col" }, head)))),
    node("tbody", {}, ...rows.map((cells) => node("tr", {}, ...cells.map((cell) => node("td", {}, cell))))));
}

function balanceTable(preview, words) {
  const rows = preview.balance.map(([label, count, share]) => {
    const bar = node("span", { class: "fm-share", "aria-hidden": "true" });
    bar.style.setProperty("--fm-share", share.toFixed(4));
    return [label, grouped(count), node("span", {}, `${(100 * share).toFixed(1)} %`, bar)];
  });
  const made = formTable([words.balance_label, words.balance_count, words.balance_share], rows, filled(words.balance_caption, { field: preview.field }));
  made.classList.add("fm-balance");
  return made;
}

/** What was last looked at: the first rows of a field, and how often each label stands in all of them. */
function rowsView(words) {
  const hide = node("button", { type: "button", class: "fm-button fm-button-link" }, words.hide_preview);
  const area = node("div", { class: "fm-rows-area", tabindex: "0", role: "group" });
  const labels = node("div", { class: "fm-rows-labels" });
  const root = node("div", { class: "fm-rows", hidden: true }, area, labels, hide);
  hide.addEventListener("click", () => {
    root.hidden = true;
    area.replaceChildren();
    labels.replaceChildren();
  });
  function draw(preview) {
    const caption = filled(words.preview_caption, { shown: preview.cells.length, rows: grouped(preview.rows), field: preview.field });
    area.setAttribute("aria-label", caption);
    area.replaceChildren(formTable(preview.columns, preview.cells, caption));
    labels.replaceChildren(...(preview.balance.length ? [balanceTable(preview, words)] : []));
    if (preview.others > 0) labels.append(node("p", { class: "fm-hint" }, filled(words.balance_others, { n: grouped(preview.others) })));
    root.hidden = false;
  }
  return { root, draw };
}
