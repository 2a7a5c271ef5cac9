
// The form of %panel finetune. Words, options and checks come from Python; here is what is typed, and when it is told.
//
// Each message to the kernel has a number; an answer to an older one than the newest sent is passed over, so that typing is never
// undone by what comes late. Numbers are times, so that two pages with the same form do not shut each other out.

const FORM_SILENCE_MS = 6_000;

function createFormStore(model) {
  const store = {
    words: model.get("words") || {},
    sections: model.get("sections") || [],
    state: model.get("state") || {},
    sent: 0,
    waiting: 0,
    defect: (model.get("state") || {}).defect || "",
    views: new Set(),
    send(content) {
      store.sent = Math.max(store.sent + 1, Date.now());
      store.waiting = store.waiting || Date.now();
      model.send({ ...content, edit: store.sent });
    },
    show() {
      for (const view of store.views) view.draw();
    },
  };
  model.on("msg:custom", (message) => {
    if (!message) return;
    if (message.type === "state" && message.state.edit >= store.sent) {
      store.state = message.state;
      store.waiting = 0;
      store.defect = "";
    }
    if (message.type === "defect") store.defect = message.text;
    if (message.type === "preview") for (const view of store.views) view.drawRows(message.preview);
    store.show();
  });
  return store;
}

function createForm(model, store, el) {
  const { words } = store;
  const button = (label, kind, action) => {
    const made = node("button", { type: "button", class: `fm-button fm-button-${kind}` }, label);
    made.addEventListener("click", action);
    return made;
  };
  const id = `fm-form-${(fieldsMade += 1)}`;
  const fill = (path, typed, left) => store.send({ type: "field", path, typed, left });
  const look = (path) => store.send({ type: "preview", path, left: true });
  const rows = rowsView(words);
  const sections = store.sections.map((section) => formSection(section, words, fill, look, rows));
  const name = textControl(`${id}-name`, `${id}-checks`, (typed, left) => store.send({ type: "name", typed, left }));
  const text = node("textarea", { id: `${id}-text`, class: "fm-input fm-cell", rows: 6, spellcheck: "false", autocomplete: "off", wrap: "off", "aria-describedby": `${id}-text-hint ${id}-checks` });
  const typing = typist(text, (typed, left) => store.send({ type: "text", text: typed, left }));
  const copied = node("span", { class: "fm-state", role: "status" });
  const checks = node("div", { id: `${id}-checks`, class: "fm-checks", "aria-live": "polite" });
  const start = button(words.start, "main", () => store.send({ type: "start", left: true }));
  const estimate = button(words.estimate, "plain", () => store.send({ type: "estimate", left: true }));
  const estimated = node("div", { class: "fm-estimate", "aria-live": "polite" });
  const run = node("div", { class: "fm-run" });
  start.setAttribute("aria-describedby", `${id}-checks`);
  const fields = node("div", { id: `${id}-fields`, class: "fm-sections" }, ...sections.map((each) => each.root));
  const fold = button(words.hide_fields, "link", () => showFields(fields.hidden));
  fold.setAttribute("aria-controls", fields.id);

  const cell = node("div", { class: "fm-cell-part" },
    node("div", { class: "fm-cell-head" }, node("label", { for: `${id}-text`, class: "fm-field-name" }, words.cell), button(words.copy, "link", copy), copied),
    text, node("p", { id: `${id}-text-hint`, class: "fm-hint" }, words.cell_hint), checks,
    node("div", { class: "fm-actions" }, start, estimate), estimated);
  const root = node("section", { class: "fm-panel fm-form", role: "region", "aria-label": words.region },
    node("header", { class: "fm-head" }, node("span", { class: "fm-title" }, node("span", { class: "fm-name" }, words.title)),
      node("div", { class: "fm-run-name" }, node("label", { for: `${id}-name`, class: "fm-field-name" }, words.name), name.root),
      fold, button(words.refresh, "link", () => store.send({ type: "look", left: false }))),
    node("div", { class: "fm-form-main" }, fields, cell), run);
  showFields(true);

  // As in the other panels: in JupyterLab a key typed here would act on the notebook; saving stays the notebook's.
  root.addEventListener("keydown", (event) => {
    if (!((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s")) event.stopPropagation();
  });

  function showFields(shown) {
    fields.hidden = !shown;
    setText(fold, shown ? words.hide_fields : words.show_fields);
    fold.setAttribute("aria-expanded", String(shown));
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(text.value);
      setText(copied, words.copied);
    } catch {
      text.focus();
      text.select();
      setText(copied, document.execCommand("copy") ? words.copied : words.not_copied);
    }
    setTimeout(() => setText(copied, ""), 4000);
  }

  function draw() {
    const state = store.state;
    if (store.defect) return drawDefect();
    const faults = new Map();
    for (const [field, lines] of state.faults) faults.set(field, [...(faults.get(field) || []), ...lines]);
    root.dataset.ready = String(isReady(state));
    root.dataset.edit = String(state.edit);
    root.dataset.run = state.run;
    if (!typing.dirty && text.value !== state.text) text.value = state.text;
    text.rows = Math.min(24, Math.max(6, text.value.split("\n").length + 1));
    name.draw(state.name, !state.readable, "");
    if (faults.has("name")) name.input.setAttribute("aria-invalid", "true");
    else name.input.removeAttribute("aria-invalid");
    for (const section of sections) section.draw(state, faults);
    drawChecks(state);
    start.disabled = !isReady(state);
    estimate.disabled = !isReady(state);
    drawEstimate(state);
    attachRun(state);
  }

  const isReady = (state) => state.readable && !state.faults.length && !state.busy;

  function drawChecks(state) {
    const silent = store.waiting && Date.now() - store.waiting > FORM_SILENCE_MS;
    const faults = [...state.wrong, ...state.faults.flatMap(([, lines]) => lines)];
    const head = state.busy ? words.starting : faults.length ? words.not_ready : words.ready;
    const notes = [...state.said, ...(state.readable ? [] : [words.unreadable]), ...(silent ? [words.silent] : [])];
    const key = JSON.stringify([head, faults, notes]);
    if (checks.dataset.key === key) return;
    checks.dataset.key = key;
    checks.replaceChildren(node("p", { class: faults.length ? "fm-not-ready" : "fm-ready" }, head),
      ...(faults.length ? [node("div", { class: "fm-faults" }, faults.join("\n"))] : []), ...notes.map((note) => node("p", { class: "fm-said" }, note)));
  }

  function drawDefect(text = store.defect) {
    delete checks.dataset.key;
    checks.replaceChildren(node("div", { class: "fm-faults" }, `${words.display_fault}\n${text}`));
  }

  function drawEstimate(state) {
    const lines = [...state.estimate, ...(state.estimate_old ? [words.estimate_old] : [])];
    const key = JSON.stringify(lines);
    if (estimated.dataset.key === key) return;
    estimated.dataset.key = key;
    estimated.replaceChildren(...lines.map((line) => node("p", { class: "fm-said" }, line)));
  }

  async function attachRun(state) {
    if (!state.run || run.dataset.model === state.run) return;
    run.dataset.model = state.run;
    try {
      const child = await model.widget_manager.get_model(state.run.replace("IPY_MODEL_", ""));
      const view = await model.widget_manager.create_view(child);
      showFields(false); // so that the run stands where one looks
      run.replaceChildren(view.el);
      run.scrollIntoView({ block: "nearest" });
    } catch (error) {
      run.replaceChildren(node("p", { class: "fm-faults" }, `${words.display_fault}\n${error}`));
    }
  }

  function safely() {
    try {
      draw();
    } catch (error) {
      drawDefect(error);
    }
  }

  const forget = leaveFocus(root);
  el.append(root);
  return { draw: safely, drawRows: rows.draw, checkSilence: () => drawChecks(store.state), forget };
}

export default () => {
  let store = null;
  return {
    initialize({ model }) {
      store = createFormStore(model);
    },
    render({ model, el }) {
      store = store || createFormStore(model);
      const view = createForm(model, store, el);
      store.views.add(view);
      view.draw();
      const clock = setInterval(() => store.waiting && view.draw(), 2000);
      return () => {
        clearInterval(clock);
        view.forget();
        store.views.delete(view);
      };
    },
  };
};
