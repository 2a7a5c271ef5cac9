// What probes saw of a model between the steps of its training: one chart a probe, with its band and the value of no preference.

/** Gives back `draw(looks, total)`, which puts the charts into `area`; `looks` is `charts` of panels/looks.py. */
function createLooks(words, area) {
  const charts = new Map();
  return (looks, total) => {
    for (const each of looks) {
      if (!charts.has(each.name)) {
        charts.set(each.name, chart("look", words));
        area.append(charts.get(each.name).root);
      }
      const points = new Float32Array(each.points.flatMap(([step, value]) => [step, value]));
      const band = each.points.filter(([, , low]) => low !== null).flatMap(([step, , low, high]) => [step, low, step, high]);
      const { root, draw } = charts.get(each.name);
      root.hidden = false;
      draw({ name: each.name, total, best: 0, series: [{ kind: "look", label: each.label, points, band, level: each.neutral ?? NaN }] });
    }
  };
}
