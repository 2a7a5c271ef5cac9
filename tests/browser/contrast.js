// The lowest contrast (WCAG 2) in `root`, and its text. Every element that shows text of its own counts, SVG included;
// half-transparent colours and grounds are mixed with what is behind.
root => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] > 0.99) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = (colour) => colour.map(linear).reduce((sum, v, i) => sum + [0.2126, 0.7152, 0.0722][i] * v, 0);
  const opacity = (e) => (e && e !== root.parentElement ? Number(getComputedStyle(e).opacity) * opacity(e.parentElement) : 1);
  const hasText = (e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
  const isText = (e) => hasText(e) && e.getClientRects().length;
  const shown = [root, ...root.querySelectorAll('*')].filter((e) => isText(e) && !e.closest(':disabled') && !e.closest('option'));
  const found = shown.map((e) => {
    const style = getComputedStyle(e);
    const [r, g, b, a] = rgba(e instanceof SVGElement ? style.fill : style.color);
    const below = ground(e);
    const [x, y] = [light(over([r, g, b, a * opacity(e)], below)), light(below)];
    return [(Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05), e.textContent.trim().slice(0, 60)];
  });
  return found.reduce((lowest, each) => (each[0] < lowest[0] ? each : lowest), [21, '']);
}
