// The panel of %%explain: one view of an attribution. The kernel keeps its state; a page that comes later gets all of it.

function createExplained(model, el) {
  const root = node("section", { class: "fm-panel fm-explain", role: "region", "aria-label": model.get("state").words.region });
  el.append(root);
  const ask = (wish) => model.send(wish);
  const view = attributionView(root, model.get("state"), {
    onEdit: (text, pair) => ask({ type: "edit", text, pair }),
    onLabel: (label) => ask({ type: "label", label }),
  });
  // In JupyterLab a key typed on a button acts on the notebook ("b" inserts a cell); saving stays the notebook's.
  root.addEventListener("keydown", (event) => {
    if (!((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s")) event.stopPropagation();
  });
  const show = () => view.update(model.get("state"));
  model.on("change:state", show);
  return () => model.off("change:state", show);
}

export default { render: ({ model, el }) => createExplained(model, el) };
