// Clicks and drags on the picture of the widget that this one stands in, in pixels of what it
// shows. The picture itself is plain HTML with its words; this adds no element that is seen.

const IS_DRAG = 2; // so many pixels of the scene in both directions; less is a click

function render({ model, el }) {
  el.style.display = "none";
  const ends = new AbortController();
  let began = null;

  const place = (event) => {
    if (event.target.tagName !== "IMG") return null;
    const frame = event.target.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width;
    const y = (event.clientY - frame.top) / frame.height;
    const side = model.get("side");
    for (const [left, top, right, bottom] of model.get("panels")) {
      if (x < left || x >= right || y < top || y >= bottom) continue;
      return [
        Math.floor((side * (x - left)) / (right - left)),
        Math.floor((side * (y - top)) / (bottom - top)),
      ];
    }
    return null;
  };
  const tell = (kind, from = null, to = null) => {
    model.set("event", { kind, from, to, number: model.get("event").number + 1 });
    model.save_changes();
  };
  const listen = (around) => {
    // on the way down: a field for a number lets no key come up again
    const how = { signal: ends.signal, capture: true };
    const on = (name, act) => around.addEventListener(name, act, how);
    on("pointerdown", (event) => {
      began = event.button === 0 ? place(event) : null;
      if (began) event.preventDefault();
    });
    on("pointerup", (event) => {
      const [from, to] = [began, place(event)];
      began = null;
      if (!from || !to) return;
      const drag = Math.min(Math.abs(from[0] - to[0]), Math.abs(from[1] - to[1])) >= IS_DRAG;
      if (drag) tell("box", from, to);
      else tell(event.shiftKey ? "out" : "in", from);
    });
    on("dragstart", (event) => event.preventDefault());
    on("contextmenu", (event) => {
      const where = place(event);
      if (!where) return;
      event.preventDefault(); // no menu of the browser's,
      event.stopPropagation(); // nor of JupyterLab's
      tell("out", where);
    });
    on("keydown", (event) => {
      if (event.key !== "Enter" || event.target.type !== "number") return;
      // after the field has taken what was typed
      setTimeout(() => tell(event.shiftKey ? "out" : "in"), 100);
    });
  };
  const wait = () => {
    const around = el.parentElement?.closest(".widget-vbox");
    if (around) listen(around);
    else if (!ends.signal.aborted) requestAnimationFrame(wait);
  };
  wait();
  return () => ends.abort();
}

export default { render };
