// The text that was explained, coloured, and an editor that asks the model about another. `attributionView` draws into any
// element; the panel of %%explain and that of %panel inspect both hold one. `data` is `state_of` of panels/attribution.py.

const ATTRIBUTION_SILENCE_MS = 6_000;

function attributionView(el, data, { onEdit = null, onLabel = null, onMethod = null } = {}) {
  const view = { method: data.methods.length ? data.methods[0].name : "", active: -1, asked: 0, waiting: null };
  const words = data.words;
  const id = `fm-attribution-${(attributionView.made = (attributionView.made || 0) + 1)}`;
  const title = node("span", { class: "fm-name" });
  const state = node("span", { class: "fm-state", role: "status", "aria-live": "polite" });
  const notices = node("ul", { class: "fm-notes" });
  const fault = node("div", { class: "fm-faults", role: "alert", hidden: true });
  const labels = node("select", { class: "fm-input" });
  const methods = node("select", { class: "fm-input" });
  const labelField = node("label", { class: "fm-field" }, words.label, labels);
  const methodField = node("label", { class: "fm-field" }, words.method, methods);
  const texts = node("div", { class: "fm-attr-texts" });
  const reading = node("p", { class: "fm-attr-reading", "aria-live": "polite" });
  const legend = node("p", { class: "fm-attr-legend" });
  const answers = node("div", { class: "fm-attr-answers" });
  const editor = createEditor(words, id, ask);
  const history = node("div", { class: "fm-attr-history" });
  const facts = node("ul", { class: "fm-notes" });
  const table = node("div", { class: "fm-table-area", tabindex: "0", role: "region", "aria-label": words.table });
  const folded = node("details", {}, node("summary", {}, words.table), table);
  const root = node("div", { class: "fm-attr" },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, title, state), node("span", { class: "fm-actions" }, labelField, methodField)),
    notices, fault, texts, reading, legend, answers, onEdit ? editor.root : "", history, facts, folded);
  el.append(root);

  labels.addEventListener("change", () => {
    busy(true);
    onLabel(labels.value);
  });
  methods.addEventListener("change", () => {
    view.method = methods.value;
    drawText();
    if (onMethod) onMethod(view.method);
  });
  folded.addEventListener("toggle", drawTable);

  function ask(text, pair) {
    busy(true);
    onEdit(text, pair);
  }

  function busy(is) {
    root.dataset.busy = String(is);
    setText(state, is ? words.busy : "");
    clearTimeout(view.waiting);
    // The kernel acknowledges at once, however long the model takes: silence is a kernel that is gone.
    if (is && !data.busy) view.waiting = setTimeout(() => complain(words.silent), ATTRIBUTION_SILENCE_MS);
  }

  function complain(text) {
    fault.hidden = !text;
    setText(fault, text);
    if (text) setText(state, "");
  }

  const chosen = () => data.methods.find((each) => each.name === view.method) || data.methods[0];

  function drawHead() {
    setText(title, data.title);
    notices.replaceChildren(...data.notices.map((text) => node("li", { class: "fm-note fm-note-warning" }, text)));
    facts.replaceChildren(...data.facts.map((text) => node("li", { class: "fm-note" }, text)));
    labelField.hidden = !onLabel || data.labels.length < 2;
    labels.replaceChildren(...data.labels.map((name) => node("option", { value: name, selected: name === data.label }, name)));
    methodField.hidden = data.methods.length < 2;
    methods.replaceChildren(...data.methods.map((each) => node("option", { value: each.name, selected: each.name === view.method }, each.title)));
  }

  function drawText() {
    const method = chosen();
    view.active = -1;
    texts.replaceChildren(...[[data.text, false, words.text], [data.text_pair, true, words.pair]]
      .filter(([text]) => text !== null && text !== undefined)
      .map(([text, second, name]) => textOf(text, second, data.text_pair === null ? "" : name, method)));
    setText(reading, method ? `${method.title}: ${method.what}` : "");
    legend.hidden = !method || !method.top;
    if (method && method.top) {
      legend.replaceChildren(node("span", {}, signed(-method.top)), node("span", { class: "fm-attr-scale", role: "presentation" }), node("span", {}, signed(method.top)),
        node("span", { class: "fm-attr-key fm-attr-against" }, words.against), node("span", { class: "fm-attr-key fm-attr-for" }, words.for));
    }
  }

  function textOf(text, second, name, method) {
    const signs = Array.from(text); // Python counts characters, JavaScript halves of some
    const box = node("div", { class: "fm-attr-text", role: "listbox", tabindex: "0", "aria-label": name || words.text });
    const mine = data.pieces.map((piece, i) => [piece, i]).filter(([piece]) => piece.second === second);
    let at = 0;
    const put = (from, to, dead = false) => {
      if (to > from) box.append(dead ? node("s", { class: "fm-attr-cut" }, signs.slice(from, to).join("")) : signs.slice(from, to).join(""));
    };
    for (const [piece, i] of mine) {
      put(at, piece.start);
      box.append(pieceOf(piece, i, signs.slice(Math.max(at, piece.start), piece.end).join(""), method));
      at = Math.max(at, piece.end);
    }
    const cut = data.cut[second ? 1 : 0];
    put(at, cut === null ? signs.length : Math.max(at, cut));
    if (cut !== null) put(Math.max(at, cut), signs.length, true);
    box.addEventListener("focus", () => view.active < 0 && mine.length && point(mine[0][1], box));
    box.addEventListener("keydown", (event) => walk(event, mine.map(([, i]) => i), box));
    return name ? node("div", {}, node("div", { class: "fm-label" }, name), box) : box;
  }

  function pieceOf(piece, i, written, method) {
    const score = method ? method.scores[i] : null;
    const shown = method ? method.shown[i] : "";
    const side = !score ? "none" : score > 0 ? "for" : "against";
    const made = node("span", {
      class: `fm-attr-piece fm-attr-${side}${piece.target ? " fm-attr-target" : ""}${piece.unknown ? " fm-attr-unknown" : ""}`,
      id: `${id}-${i}`, role: "option", "aria-selected": "false", "aria-label": `${written} ${shown}`.trim(), "data-score": score ?? "",
    }, written);
    if (score && method.top) made.style.setProperty("--fm-share", `${((100 * Math.abs(score)) / method.top).toFixed(1)}%`);
    made.addEventListener("pointerenter", () => point(i));
    made.addEventListener("dblclick", () => onEdit && editor.select(piece));
    return made;
  }

  function point(i, box = null) {
    const piece = data.pieces[i];
    const method = chosen();
    const text = Array.from(piece.second ? data.text_pair : data.text).slice(piece.start, piece.end).join("");
    const parts = data.methods.map((each) => `${each.title} ${each.shown[i] || "–"}`);
    if (piece.log_probability) parts.push(`${words.log_probability} ${piece.log_probability}`);
    if (piece.target) parts.push(words.target);
    else if (method && method.scores[i] === null) parts.push(words.no_score);
    if (piece.unknown) parts.push(words.unknown);
    setText(reading, `“${text}”${piece.token === text ? "" : ` (${piece.token})`}: ${parts.join(" · ")}`);
    if (!box) return;
    view.active = i;
    for (const each of box.querySelectorAll("[aria-selected=true]")) each.setAttribute("aria-selected", "false");
    const element = box.querySelector(`#${id}-${i}`);
    element.setAttribute("aria-selected", "true");
    box.setAttribute("aria-activedescendant", element.id);
  }

  function walk(event, numbers, box) {
    const place = numbers.indexOf(view.active);
    const to = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: numbers.length - 1 }[event.key];
    if (event.key === "Enter" && place >= 0 && onEdit) editor.select(data.pieces[view.active]);
    else if (to === undefined) return;
    else if (numbers.length) point(numbers[Math.min(numbers.length - 1, Math.max(0, to))], box);
    event.preventDefault();
  }

  function drawAnswers() {
    const edit = data.edits[0];
    const after = new Map((edit ? edit.answers : []).map((each) => [each.name, each]));
    const isShare = !data.are_sums && data.answers.every((each) => each.value >= 0 && each.value <= 1);
    const heads = edit ? ["", words.answer, words.before, words.after, words.change] : ["", words.answer, ""];
    const rows = data.answers.map((each) => {
      const now = after.get(each.name);
      return node("tr", { class: each.name === data.label ? "fm-attr-own" : "" },
        node("td", {}, isShare ? bars(each.value, now ? now.value : null) : ""), node("th", { scope: "row" }, each.name), node("td", {}, each.shown),
        ...(edit ? [node("td", { class: "fm-attr-after" }, now ? now.after : "–"), node("td", {}, now ? now.change : "")] : []));
    });
    answers.replaceChildren(node("table", { class: "fm-table" }, node("caption", {}, words.answers),
      node("thead", {}, node("tr", {}, ...heads.map((head) => (head ? node("th", { scope: "col" }, head) : node("td", {}))))), node("tbody", {}, ...rows)));
  }

  function drawHistory() {
    history.hidden = !data.edits.length;
    if (!data.edits.length) return;
    const row = (edit) => {
      const own = edit.answers.find((each) => each.name === data.label) || edit.answers[0];
      return node("tr", {}, node("td", { class: "fm-attr-edited" }, ...marked(data.text, edit.text), ...(edit.text_pair ? [" | ", ...marked(data.text_pair || "", edit.text_pair)] : [])),
        node("td", {}, own ? own.after : ""), node("td", {}, own ? own.change : ""), node("td", { class: edit.flip ? "fm-attr-flip" : "" }, edit.flip || words.no_flip));
    };
    history.replaceChildren(node("table", { class: "fm-table" }, node("caption", {}, words.history),
      node("thead", {}, node("tr", {}, ...[words.edited, data.label, words.change].map((head) => node("th", { scope: "col" }, head)), node("td", {}))),
      node("tbody", {}, ...data.edits.map(row))));
  }

  function drawTable() {
    if (!folded.open) return;
    const likely = data.pieces.some((piece) => piece.log_probability);
    const heads = [words.piece, words.token, ...data.methods.map((each) => each.title), ...(likely ? [words.log_probability] : [])];
    const letters = [Array.from(data.text), Array.from(data.text_pair || "")];
    const rows = data.pieces.map((piece, i) => node("tr", {}, node("th", { scope: "row" }, letters[piece.second ? 1 : 0].slice(piece.start, piece.end).join("")),
      node("td", {}, piece.token), ...data.methods.map((each) => node("td", {}, each.shown[i])), ...(likely ? [node("td", {}, piece.log_probability)] : [])));
    table.replaceChildren(node("table", { class: "fm-table" }, node("thead", {}, node("tr", {}, ...heads.map((head) => node("th", { scope: "col" }, head)))), node("tbody", {}, ...rows)));
  }

  function update(fresh) {
    const same = fresh.text === data.text && fresh.text_pair === data.text_pair;
    data = fresh;
    if (!data.methods.some((each) => each.name === view.method)) view.method = data.methods.length ? data.methods[0].name : "";
    root.dataset.label = data.label;
    root.dataset.edits = String(data.edits.length);
    drawHead();
    drawText();
    drawAnswers();
    drawHistory();
    drawTable();
    if (!same) editor.fill(data.text, data.text_pair);
    busy(data.busy);
    complain(data.fault);
  }

  editor.fill(data.text, data.text_pair);
  update(data);
  return { update };
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toPrecision(3)}`;

function bars(before, after) {
  const bar = (share, name) => {
    const fill = node("span", { class: "fm-attr-fill" });
    fill.style.width = `${(100 * share).toFixed(1)}%`;
    return node("span", { class: `fm-attr-bar ${name}` }, fill);
  };
  return node("span", { class: "fm-attr-bars", "aria-hidden": "true" }, bar(before, "fm-attr-was"), ...(after === null ? [] : [bar(after, "fm-attr-is")]));
}

// Text areas for the text and its pair. Enter asks; the words that are changed are told apart afterwards, in the history.
function createEditor(words, id, ask) {
  const area = (name, label) => {
    const made = node("textarea", { class: "fm-input fm-attr-edit", id: `${id}-${name}`, rows: "2", spellcheck: "false" });
    made.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // an input method's Enter chooses characters
      event.preventDefault();
      send();
    });
    return [made, node("div", { class: "fm-attr-area" }, node("label", { class: "fm-label", for: `${id}-${name}` }, label), made)];
  };
  const [first, firstField] = area("text", words.edit);
  const [second, secondField] = area("pair", words.edit_pair);
  const apply = node("button", { type: "button", class: "fm-button fm-button-main" }, words.apply);
  const reset = node("button", { type: "button", class: "fm-button" }, words.reset);
  const root = node("div", { class: "fm-attr-editor" }, firstField, secondField, node("p", { class: "fm-state" }, words.edit_hint), node("div", { class: "fm-actions" }, apply, reset));
  let original = ["", null];
  const send = () => ask(first.value, original[1] === null ? null : second.value);
  apply.addEventListener("click", send);
  reset.addEventListener("click", () => fill(...original));

  function fill(text, pair) {
    original = [text, pair];
    [first.value, second.value] = [text, pair || ""];
    secondField.hidden = pair === null;
  }

  function select(piece) {
    const target = piece.second ? second : first;
    const letters = Array.from(target.value);
    const start = letters.slice(0, piece.start).join("").length;
    target.focus();
    target.setSelectionRange(start, start + letters.slice(piece.start, piece.end).join("").length);
  }

  return { root, fill, select };
}

// What `text` has that `before` has not: the part between what both begin and end with, to whole words.
function marked(before, text) {
  const cut = (whole) => whole.split(/(\s+)/);
  const [old, fresh] = [cut(before), cut(text)];
  let start = 0;
  while (start < old.length && start < fresh.length && old[start] === fresh[start]) start += 1;
  let end = 0;
  while (end < old.length - start && end < fresh.length - start && old[old.length - 1 - end] === fresh[fresh.length - 1 - end]) end += 1;
  const middle = fresh.slice(start, fresh.length - end).join("");
  return [fresh.slice(0, start).join(""), middle ? node("mark", { class: "fm-attr-mark" }, middle) : "", fresh.slice(fresh.length - end).join("")];
}
