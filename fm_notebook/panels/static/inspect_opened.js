// One row of the inspection panel, opened: its whole text, what the model said, its numbers, a note, and why.

/** `on.open(at)`, `on.close()`, `on.note(at, text)`, `on.near(at)` and `on.explain(at, more)` are told what was clicked. */
function createDetails(store, on) {
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
    if (to !== undefined) on.open(to, true);
  };
  const before = press("‹", step(-1), "fm-turn");
  const after = press("›", step(1), "fm-turn");
  for (const [button, label] of [[before, words.previous_row], [after, words.next_row]]) {
    button.setAttribute("aria-label", label);
    button.title = label;
  }
  const head = node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, title, badges), node("span", { class: "fm-actions" }, before, after, press(words.close, () => on.close())));
  const texts = node("div", { class: "fm-texts" });
  const note = node("textarea", { class: "fm-input fm-note-field", rows: "2", placeholder: words.note_hint });
  const save = press(words.note_save, () => on.note(store.shown.opened.at, note.value));
  const noting = node("div", { class: "fm-noting" }, node("label", { class: "fm-field" }, node("span", { class: "fm-label" }, words.note), note), save);
  note.addEventListener("input", () => (save.disabled = note.value === note.dataset.saved));
  const chances = node("table", { class: "fm-chances" });
  const facts = node("div", { class: "fm-facts" });
  const near = press(words.find_near, () => on.near(store.shown.opened.at));
  const why = press(words.explain, () => on.explain(store.shown.opened.at, {}), "fm-button-main");
  const status = node("span", { class: "fm-state", role: "status", "aria-live": "polite" });
  const explained = node("div", { class: "fm-explained" });
  const root = node("section", { class: "fm-details", role: "region", "aria-label": words.details, hidden: true }, head,
    node("div", { class: "fm-two" }, node("div", {}, texts, noting), node("div", {}, node("h4", { class: "fm-subtitle" }, words.probabilities), chances, facts)),
    node("div", { class: "fm-actions fm-row-actions" }, why, near, status), explained);
  let at = null;
  let picture = null;
  let drawn = null;

  function chance(each) {
    const bar = node("span", { class: "fm-chance-bar" });
    bar.style.width = `${(100 * each.value).toFixed(1)}%`;
    const kinds = [each.true && words.is_true, each.predicted && words.is_predicted].filter(Boolean);
    return node("tr", { class: each.true ? "fm-is-true" : "" }, node("th", { scope: "row" }, each.label, ...kinds.map((kind) => node("span", { class: "fm-badge" }, kind))),
      node("td", { class: "fm-chance" }, bar), node("td", { class: "fm-number" }, each.text));
  }

  function draw() {
    const { opened } = store.shown;
    root.hidden = !opened;
    if (!opened) {
      at = null;
      return;
    }
    setText(title, opened.title);
    const outcome = opened.right ? words.is_right : words.is_wrong;
    badges.replaceChildren(node("span", { class: opened.right ? "fm-right" : "fm-wrong", "aria-hidden": "true" }), node("span", { class: "fm-state" }, outcome),
      ...(opened.suspect ? [node("span", { class: "fm-badge" }, words.row_suspect)] : []));
    texts.replaceChildren(...opened.texts.map((text) => node("p", { class: "fm-whole", tabindex: "0", role: "group", "aria-label": words.text }, ...withMarks(text, store.shown.slice.contains))));
    chances.replaceChildren(node("tbody", {}, ...opened.chances.map(chance)));
    facts.replaceChildren(...opened.facts.map(([name, value]) => node("span", {}, node("span", { class: "fm-label" }, name), node("span", { class: "fm-value" }, value))));
    if (opened.at !== at) {
      note.value = opened.note;
      explained.replaceChildren();
      [picture, drawn, at] = [null, null, opened.at];
    } else if (document.activeElement !== note && note.value === note.dataset.saved) note.value = opened.note;
    note.dataset.saved = opened.note;
    save.disabled = note.value === opened.note;
    const places = store.shown.rows.map((row) => row.at);
    before.disabled = places.indexOf(at) <= 0;
    after.disabled = !places.includes(at) || places.indexOf(at) === places.length - 1;
    drawExplained();
  }

  /** What the kernel found out about the open row; `attributionView` is that of attribution.js. */
  function drawExplained() {
    const { at: place, busy, fault, data } = store.explained;
    const mine = place === at;
    why.disabled = mine && (busy || Boolean(data));
    setText(status, mine && !data ? (busy ? words.explaining : fault) : "");
    if (!mine || !data || data === drawn) return;
    drawn = data;
    if (picture) picture.update(data);
    else {
      picture = attributionView(explained, data, {
        onEdit: (edited, pair) => on.explain(at, { edited, pair }),
        onLabel: (label) => on.explain(at, { label }),
      });
    }
  }

  return { root, draw, focus: () => title.focus({ preventScroll: true }) };
}
