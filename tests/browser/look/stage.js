// Puts a panel or a card alone on the page. A panel gets a model that holds its state and keeps what it sends.
() => {
  document.getElementById("stage")?.remove();
  const place = document.createElement("main");
  place.id = "stage";
  place.style.cssText = "position:fixed;inset:0;z-index:100000;overflow:auto;padding:12px;background:var(--jp-layout-color0,Canvas)";
  document.body.append(place);
  for (const other of document.body.children) if (other !== place) other.inert = true;

  const revive = (_key, value) => {
    if (!value || typeof value !== "object" || !("$bytes" in value)) return value;
    return new DataView(Uint8Array.from(atob(value.$bytes), (c) => c.charCodeAt(0)).buffer);
  };
  const fresh = (className) => {
    const outer = document.createElement("div");
    const element = document.createElement("div");
    element.className = className;
    outer.append(element);
    place.replaceChildren(outer);
    return element;
  };

  window.stage = {
    sent: [],
    async panel(code, css, state) {
      const values = JSON.parse(state, revive);
      const listeners = {};
      const model = {
        get: (name) => values[name],
        set: (name, value) => { values[name] = value; },
        save_changes: () => {},
        send: (content) => window.stage.sent.push(content),
        on: (name, listener) => (listeners[name] ||= []).push(listener),
        off: () => {},
      };
      window.stage.message = (content, buffers = []) => (listeners["msg:custom"] || []).forEach((listen) => listen(content, buffers));
      const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
      let widget = (await import(address)).default;
      if (typeof widget === "function") widget = await widget();
      const element = fresh("");
      element.append(Object.assign(document.createElement("style"), { textContent: css }));
      const signal = new AbortController().signal;
      await widget.initialize?.({ model, signal });
      await widget.render({ model, el: element, signal });
    },
    card(html) {
      fresh("jp-OutputArea-output jp-RenderedHTMLCommon jp-RenderedHTML").innerHTML = html;
    },
  };
}
