// Several runs beside each other: their curves over one another, or what two of them were asked differently.

const MOST_OVERLAID = 8; // as many lines as colours and dashes tell apart, see runs.css

function createOverlay(store, view) {
  const { words } = store;
  const title = node("h3", { class: "fm-name" }, words.overlay_title);
  const said = node("p", { class: "fm-empty", role: "status" });
  const charts = node("div", { class: "fm-charts" });
  const values = folded(words.show_table);
  const root = node("section", { class: "fm-compared", role: "region", "aria-label": words.overlay_title, hidden: true }, title, said, charts, values.root);
  const made = new Map();

  function draw() {
    root.hidden = !view.overlaid.length;
    if (root.hidden) return;
    const ids = view.overlaid.slice(0, MOST_OVERLAID);
    const found = ids.map((id, i) => ({ id, kind: `run-${i}`, ...store.curves.get(id) })).filter((each) => each.train);
    const drawn = found.filter((each) => each.train.length + each.metric.length);
    const wanted = [...new Set(drawn.filter((each) => each.metric.length).map((each) => each.name))];
    const series = (pick) => drawn.map((each) => ({ kind: each.kind, label: each.id, points: pick(each) })).filter((each) => each.points.length);
    const plans = wanted.map((name) => [name, series((each) => (each.name === name ? each.metric : []))]);
    plans.push([words.training_loss, series((each) => (each.train.length < 60 ? each.train : smoothed(each.train)))]);
    for (const [name] of plans) if (!made.has(name)) made.set(name, chart("overlay", words));
    const shown = plans.filter(([, lines]) => lines.length);
    const roots = shown.map(([name]) => made.get(name).root);
    if (roots.length !== charts.children.length || roots.some((each, i) => each !== charts.children[i])) charts.replaceChildren(...roots);
    for (const [name, lines] of shown) {
      made.get(name).root.hidden = false;
      made.get(name).draw({ name, total: 0, best: 0, series: lines });
    }
    const few = view.overlaid.length > ids.length ? filled(words.too_many, { count: ids.length }) : "";
    setText(said, found.length < ids.length ? words.loading : drawn.length ? few : words.no_curves);
    said.hidden = !said.textContent;
    root.dataset.lines = shown.reduce((sum, [, lines]) => sum + lines.length, 0);
    values.root.hidden = !drawn.length;
    if (values.root.open) values.fill(plainTable([words.title, words["axis.step"], ...shown.map(([name]) => name)], drawn.map((each) => row(each, shown))));
  }

  values.root.addEventListener("toggle", () => values.root.open && draw());

  function row(each, shown) {
    const last = (points) => (points.length ? points[points.length - 1].toPrecision(4) : "");
    const step = Math.max(each.train[each.train.length - 2] || 0, each.metric[each.metric.length - 2] || 0);
    return [each.id, grouped(step), ...shown.map(([, lines]) => last(lines.find((line) => line.label === each.id)?.points || []))];
  }

  return { root, draw };
}

function createDiff(view) {
  const title = node("h3", { class: "fm-name", tabindex: "-1" });
  const area = node("div", { class: "fm-table-area", tabindex: "0", role: "group" });
  const root = node("section", { class: "fm-compared", role: "region", hidden: true }, title, area);

  function draw() {
    root.hidden = !view.diff;
    if (!view.diff) return;
    setText(title, view.diff.title);
    root.setAttribute("aria-label", view.diff.title);
    area.setAttribute("aria-label", view.diff.title);
    area.hidden = !view.diff.rows.length;
    area.replaceChildren(plainTable(view.diff.heads, view.diff.rows));
    area.firstChild.classList.add("fm-words");
  }

  return { root, draw };
}
