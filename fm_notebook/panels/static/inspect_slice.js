// The inspection panel's slice: the confusion matrix whose cells choose rows, and the fields that narrow them down.

const MOST_WITH_COUNTS = 15; // more classes: colour alone in the cells, the number under the pointer and for screen readers
const MOST_LEVEL_HEADS = 4; // column names of more classes stand upright
const TYPING_MS = 100;

/** `on.look(changes)` asks for other rows. Arrow keys move within the matrix, which is one stop of the Tab key. */
function createConfusion(store, on) {
  const { words, about } = store;
  const title = node("h3", { class: "fm-subtitle" }, words.confusion);
  const table = node("table", { class: "fm-matrix" });
  const left = node("p", { class: "fm-hint" });
  const root = node("section", { class: "fm-confusion", role: "region", "aria-label": words.confusion }, title,
    node("div", { class: "fm-matrix-area" }, table), node("p", { class: "fm-hint" }, words.confusion_hint), left);
  let place = [0, 0];
  let buttons = [];

  function cell(i, j, matrix, total) {
    const [truth, said] = [about.labels[matrix.classes[i]], about.labels[matrix.classes[j]]];
    const n = matrix.counts[i][j];
    const share = total ? n / total : 0;
    const pressed = store.wanted.slice.true === truth && store.wanted.slice.predicted === said;
    const percent = `${(100 * share).toFixed(1)} %`;
    const told = filled(words.cell, { true: truth, predicted: said, n: grouped(n), share: percent });
    const button = node("button", {
      type: "button", class: "fm-cell", "aria-pressed": String(pressed), "aria-label": told, title: told, tabindex: i === place[0] && j === place[1] ? "0" : "-1",
      "data-true": truth, "data-predicted": said,
    }, matrix.classes.length <= MOST_WITH_COUNTS ? grouped(n) : "");
    button.style.setProperty("--fm-share", n ? `${Math.round(7 + 43 * share)}%` : "0%");
    button.addEventListener("click", () => {
      place = [i, j];
      on.look({ slice: { ...store.wanted.slice, true: pressed ? null : truth, predicted: pressed ? null : said, ...(pressed ? {} : { right: null }) } });
    });
    button.addEventListener("focus", () => {
      buttons[place[0]]?.[place[1]]?.setAttribute("tabindex", "-1");
      place = [i, j];
      button.setAttribute("tabindex", "0");
    });
    return button;
  }

  table.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    buttons[place[0] + step[0]]?.[place[1] + step[1]]?.focus();
  });

  function draw() {
    const matrix = store.shown.confusion;
    const n = matrix.classes.length;
    const focused = table.contains(document.activeElement);
    place = place.map((each) => Math.min(each, n - 1));
    const name = (i) => about.labels[matrix.classes[i]];
    buttons = matrix.classes.map((_, i) => {
      const total = matrix.counts[i].reduce((sum, each) => sum + each, 0);
      return matrix.classes.map((__, j) => cell(i, j, matrix, total));
    });
    table.classList.toggle("fm-many", n > MOST_LEVEL_HEADS);
    table.classList.toggle("fm-crowd", n > MOST_WITH_COUNTS);
    const corner = node("td", { class: "fm-corner" }, `${words.true} ↓  ${words.predicted} →`);
    table.replaceChildren(
      node("thead", {}, node("tr", {}, corner, ...matrix.classes.map((_, j) => node("th", { scope: "col", title: name(j) }, node("span", {}, name(j)))))),
      node("tbody", {}, ...buttons.map((row, i) => node("tr", {}, node("th", { scope: "row", title: name(i) }, node("span", {}, name(i))),
        ...row.map((button, j) => node("td", { class: i === j ? "fm-hit" : "fm-miss" }, button))))),
    );
    left.hidden = !matrix.left_out;
    setText(left, filled(words.left_out, { count: matrix.left_out }));
    if (focused) buttons[place[0]][place[1]].focus({ preventScroll: true });
  }

  return { root, draw };
}

/** The fields of a slice. A field under the user's hand is never written over. */
function createSlice(store, on) {
  const { words, about } = store;
  const change = (part) => on.look({ slice: { ...store.wanted.slice, ...part } });
  const field = (label, input) => node("label", { class: "fm-field" }, node("span", { class: "fm-label" }, label), input);
  const contains = node("input", { type: "search", class: "fm-input", placeholder: words.contains_hint, spellcheck: "false" });
  let typing = 0;
  contains.addEventListener("input", () => {
    // Wanted from the first letter on, so that a click meanwhile keeps it; sent when the typing pauses.
    store.wanted = { ...store.wanted, page: 0, slice: { ...store.wanted.slice, contains: contains.value } };
    store.typing = true;
    clearTimeout(typing);
    typing = setTimeout(() => on.look({}), TYPING_MS);
  });
  const choice = (options, chosen) => {
    const made = node("select", { class: "fm-input" }, ...options.map(([value, text]) => node("option", { value }, text)));
    made.addEventListener("change", () => change(chosen(made.value)));
    return made;
  };
  const labels = [["", words.any], ...about.labels.map((label, i) => [String(i), label])];
  const label = (value) => (value === "" ? null : about.labels[Number(value)]);
  const truth = choice(labels, (value) => ({ true: label(value) }));
  const said = choice(labels, (value) => ({ predicted: label(value) }));
  const outcome = choice([["", words.any], ["right", words.right], ["wrong", words.wrong]], (value) => ({ right: value ? value === "right" : null }));
  const groups = about.groups.map((each) => {
    const options = [["", words.any], ...each.groups.map((group, i) => [String(i), group.title])];
    return { ...each, input: choice(options, (value) => {
      const { [each.name]: _, ...others } = store.wanted.slice.groups;
      return { groups: value === "" ? others : { ...others, [each.name]: each.groups[Number(value)].value } };
    }) };
  });
  const bound = (key) => {
    const made = node("input", { type: "number", min: "0", class: "fm-input fm-short" });
    made.addEventListener("change", () => change({ [key]: made.value === "" ? null : Math.max(0, Math.round(Number(made.value))) }));
    return made;
  };
  const [shortest, longest] = [bound("shortest"), bound("longest")];
  const tick = (key) => {
    const made = node("input", { type: "checkbox", class: "fm-check" });
    made.addEventListener("change", () => on.look({
      slice: { ...store.wanted.slice, [key]: made.checked },
      ...(key === "suspects" && made.checked ? { sort: { by: "margin", descending: false } } : {}),
    }));
    return made;
  };
  const [suspects, noted] = [tick("suspects"), tick("noted")];
  const near = node("button", { type: "button", class: "fm-button fm-chip", title: words.near_drop });
  near.addEventListener("click", () => on.look({ slice: { ...store.wanted.slice, near: null } }));
  const clear = node("button", { type: "button", class: "fm-button" }, words.clear_slice);
  clear.addEventListener("click", () => {
    contains.value = "";
    on.look({ slice: {} });
    contains.focus();
  });
  const fields = node("div", { class: "fm-fields" }, field(words.contains, contains), field(words.outcome, outcome), field(words.true_label, truth), field(words.predicted_label, said),
    ...groups.map((each) => field(each.name, each.input)),
    node("div", { class: "fm-field fm-range" }, field(words.length_from, shortest), field(words.length_to, longest)));
  const ticks = node("div", { class: "fm-ticks" }, node("label", { class: "fm-tickbox" }, suspects, words.suspects), node("label", { class: "fm-tickbox" }, noted, words.noted), near, clear);
  const root = node("section", { class: "fm-slice", role: "region", "aria-label": words.slice }, node("h3", { class: "fm-subtitle" }, words.slice), fields, ticks);

  function put(input, value) {
    if (document.activeElement === input && input.type !== "checkbox" && input.tagName !== "SELECT") return;
    if (input.type === "checkbox") input.checked = value;
    else input.value = value;
  }

  function draw() {
    const { slice } = store.wanted;
    const at = (name) => (name === null || name === undefined ? "" : String(about.labels.indexOf(name)));
    put(contains, slice.contains || "");
    put(truth, at(slice.true));
    put(said, at(slice.predicted));
    put(outcome, slice.right === null || slice.right === undefined ? "" : slice.right ? "right" : "wrong");
    for (const each of groups) put(each.input, each.name in slice.groups ? String(each.groups.findIndex((group) => group.value === slice.groups[each.name])) : "");
    put(shortest, slice.shortest ?? "");
    put(longest, slice.longest ?? "");
    put(suspects, Boolean(slice.suspects));
    put(noted, Boolean(slice.noted));
    near.hidden = slice.near === null || slice.near === undefined || !store.shown.near;
    setText(near, `${filled(words.near, { row: store.shown.near })} ×`);
    clear.disabled = store.shown.n === about.total && !Object.keys(slice.groups).length && !slice.contains;
  }

  return { root, draw };
}
