// Where what was searched for stands in a text.

/** `text` with the places where `part` occurs marked, as nodes. Where lower case changes lengths, nothing is. */
function withMarks(text, part) {
  const [low, wanted] = [text.toLowerCase(), (part || "").trim().toLowerCase()];
  if (!wanted || low.length !== text.length) return [document.createTextNode(text)];
  const nodes = [];
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    nodes.push(document.createTextNode(text.slice(from, at)), node("mark", { class: "fm-mark" }, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...nodes, document.createTextNode(text.slice(from))];
}
