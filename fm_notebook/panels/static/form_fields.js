
// --------------------------------------------------------------------------------------------------------- fields of a form
//
// What is typed is Python, or words that the kernel puts in quotes; a field never decides what the cell says. A control that is
// being typed into is not written to.

const OTHER = "\u0000";
const TYPING_MS = 300;
let fieldsMade = 0;

/** Tells of typing after a pause, and of leaving at once. */
function typist(control, tell) {
  const typist_ = { dirty: false, timer: 0, flush };
  function flush(left) {
    clearTimeout(typist_.timer);
    if (!typist_.dirty) return;
    typist_.dirty = !left;
    tell(control.value, left);
  }
  control.addEventListener("input", () => {
    typist_.dirty = true;
    clearTimeout(typist_.timer);
    typist_.timer = setTimeout(() => tell(control.value, false), TYPING_MS);
  });
  control.addEventListener("change", () => flush(true));
  return typist_;
}

function textControl(id, describedBy, tell) {
  const input = node("input", { type: "text", id, class: "fm-input", spellcheck: "false", autocomplete: "off", autocapitalize: "off", "aria-describedby": describedBy });
  const typing = typist(input, tell);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") typing.flush(true);
  });
  function draw(value, locked, placeholder) {
    const lines = value.includes("\n"); // an input would swallow the line breaks
    input.readOnly = locked || lines;
    input.placeholder = placeholder;
    const shown = lines ? value.replace(/\s*\n\s*/g, " ") : value;
    if (!typing.dirty && input.value !== shown) input.value = shown;
  }
  return { root: input, input, draw };
}

function option(value, label, chosen) {
  const made = node("option", { value }, label);
  made.selected = value === chosen;
  return made;
}

/** The options of a select: nothing given, those offered by group, what the cell has besides, something else. */
function fillSelect(select, value, offers, { absent, extra, other }) {
  const key = JSON.stringify([offers, absent, extra, other]);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    const groups = new Map([["", [option("", absent, value)]]]);
    for (const [source, label, group] of offers) {
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(option(source, label, value));
    }
    const parts = [...groups].flatMap(([name, options]) => (name ? [node("optgroup", { label: name }, ...options)] : options));
    if (extra) parts.push(option(extra, extra, value));
    if (other) parts.push(option(OTHER, other, value));
    select.replaceChildren(...parts);
  }
  if (select.value !== value) select.value = value;
}

const isOffered = (offers, value) => offers.some(([source]) => source === value);

function choiceControl(id, describedBy, field, tell) {
  const select = node("select", { id, class: "fm-input", "aria-describedby": describedBy });
  const offers = field.options.map(([source, label]) => [source, label, ""]);
  select.addEventListener("change", () => tell(select.value, true));
  function draw(value, locked) {
    select.disabled = locked;
    fillSelect(select, value, offers, { absent: field.absent, extra: value && !isOffered(offers, value) ? value : "" });
  }
  return { root: select, input: select, draw };
}

function pickerControl(id, describedBy, field, words, tell) {
  const select = node("select", { id, class: "fm-input", "aria-describedby": describedBy });
  const text = textControl(`${id}-text`, describedBy, tell);
  const root = node("div", { class: "fm-picker" }, select, text.root);
  let other = false;
  const picker = { root, input: select, draw };
  text.input.setAttribute("aria-label", filled(words.other_label, { field: field.path }));
  select.addEventListener("change", () => {
    other = select.value === OTHER;
    text.root.hidden = !other;
    if (other) text.input.focus();
    else tell(select.value, true);
  });
  function draw(value, locked, offered) {
    const offers = [...(offered || []), ...field.options.map(([source, label]) => [source, label, ""])];
    if (value && isOffered(offers, value)) other = other && document.activeElement === text.input;
    else if (value) other = true;
    select.hidden = !offers.length;
    text.root.hidden = offers.length > 0 && !other;
    picker.input = select.hidden ? text.input : select;
    select.disabled = locked;
    fillSelect(select, other ? OTHER : value, offers, { absent: field.absent, other: words.something_else });
    text.draw(value, locked, field.absent);
  }
  return picker;
}

/** A field with its label, what it means, what is wrong with it, and the fields below it if it is a group. */
function formField(field, words, tell) {
  const id = `fm-field-${(fieldsMade += 1)}`;
  const described = `${id}-hint ${id}-wrong`;
  const told = (typed, left) => tell(field.path, typed, left);
  const name = field.path.split(".").pop();
  const hint = node("p", { id: `${id}-hint`, class: "fm-hint" }, field.hint);
  const wrong = node("p", { id: `${id}-wrong`, class: "fm-wrong", hidden: true });
  if (field.control === "group") return groupField(field, words, tell, { id, described, hint, wrong, told });
  const control = { choice: choiceControl, picker: pickerControl, text: textControl }[field.control];
  const made = field.control === "text" ? control(id, described, told)
    : field.control === "choice" ? control(id, described, field, told) : control(id, described, field, words, told);
  const label = node("label", { for: id, class: "fm-field-name" }, name);
  const wide = field.takes === "rows" || field.path === "model" ? " fm-wide" : "";
  const root = node("div", { class: `fm-field${wide}`, "data-field": field.path }, label, made.root, wrong, hint);
  function draw(state, faults) {
    const value = state.values[field.path] || "";
    made.draw(value, !state.readable, field.control === "picker" ? state.offers[field.takes] : field.absent);
    label.htmlFor = made.input.id;
    showWrong(wrong, made.input, faults.get(field.path) || []);
    setText(hint, value.includes("\n") ? words.in_cell : field.hint);
  }
  return { field, root, draw, isSet: (state) => field.path in state.values };
}

function groupField(field, words, tell, { id, described, hint, wrong, told }) {
  const box = node("input", { type: "checkbox", id, "aria-describedby": described });
  const label = node("label", { for: id, class: "fm-field-name" }, filled(words.on, { field: field.path }));
  const parts = field.parts.map((part) => formField(part, words, tell));
  const inner = node("div", { class: "fm-parts", hidden: true }, ...parts.map((part) => part.root));
  const root = node("div", { class: "fm-field fm-group", role: "group", "aria-label": field.path, "data-field": field.path },
    node("div", { class: "fm-check" }, box, label), wrong, hint, inner);
  const isSet = (state) => Object.keys(state.values).some((path) => path === field.path || path.startsWith(`${field.path}.`));
  box.addEventListener("change", () => told(box.checked ? "{}" : "", true));
  function draw(state, faults) {
    box.checked = isSet(state) && state.values[field.path] !== "None";
    box.disabled = !state.readable;
    inner.hidden = !box.checked;
    showWrong(wrong, box, faults.get(field.path) || []);
    for (const part of parts) part.draw(state, faults);
  }
  return { field, root, draw, isSet };
}

function showWrong(place, control, lines) {
  setText(place, lines.join("\n"));
  place.hidden = !lines.length;
  if (lines.length) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
}

/** A section: basic fields first, the others folded away until they are wanted or one of them is wrong. */
function formSection(section, words, tell, look, rows) {
  const made = section.fields.map((field) => formField(field, words, tell));
  const basic = made.filter(({ field }) => field.basic);
  const rest = made.filter(({ field }) => !field.basic);
  const summary = node("summary", { class: "fm-more-title" });
  const more = node("details", { class: "fm-more" }, summary, node("div", { class: "fm-fields" }, ...rest.map((each) => each.root)));
  const shown = (basic.length ? basic : made).map((each) => (each.field.takes === "rows" ? withLook(each, words, look) : each.root));
  const root = node("fieldset", { class: `fm-section fm-section-${section.name}` }, node("legend", {}, section.title),
    node("div", { class: "fm-fields" }, ...shown));
  if (section.fields.some((field) => field.takes === "rows")) root.append(rows.root);
  if (basic.length && rest.length) root.append(more);
  let wrongBefore = false;
  function draw(state, faults) {
    for (const each of made) each.draw(state, faults);
    const set = rest.filter((each) => each.isSet(state)).length;
    setText(summary, filled(set ? words.more_set : words.more, { n: rest.length, set }));
    const wrong = rest.some(({ field }) => [...faults.keys()].some((path) => path.split(".")[0] === field.path));
    if (wrong && !wrongBefore) more.open = true;
    wrongBefore = wrong;
  }
  return { root, draw };
}

function withLook(each, words, look) {
  const button = node("button", { type: "button", class: "fm-button fm-button-link" }, filled(words.preview, { field: each.field.path }));
  button.addEventListener("click", () => look(each.field.path));
  each.root.append(button);
  return each.root;
}
