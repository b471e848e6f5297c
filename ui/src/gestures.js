// The mouse on the lanes: the wheel zooms and pans, dragging the axis pans, a
// double click fits a bar or shows the whole run again.

const NOTCH = 30; // the most of one wheel event that counts
const PER_UNIT = 0.02; // powers of two a unit of the wheel
const LINE = 16; // px of a unit where the wheel counts lines

const pixels = (event, delta) => (event.deltaMode === 0 ? delta : delta * LINE);

// wheelZoom gives the factor that a wheel event with Ctrl zooms by: a pinch on a
// touch pad comes as small ones, a notch of a mouse as a large one.
export function wheelZoom(delta) {
  return 2 ** (-Math.max(-NOTCH, Math.min(NOTCH, delta)) * PER_UNIT);
}

// wireLanes calls lens for what the user does on the lanes. timeAt gives the moment
// at a place of the window, width how many px the lanes are wide.
export function wireLanes({ scroll, ticks, timeAt, width, lens }) {
  scroll.addEventListener("wheel", (event) => {
    const dx = pixels(event, event.deltaX);
    const dy = pixels(event, event.deltaY);
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      lens.zoom(wheelZoom(dy), timeAt(event.clientX));
    } else if (event.shiftKey || Math.abs(dx) > Math.abs(dy)) {
      if (lens.zoomed) event.preventDefault();
      lens.pan((dx || dy) / Math.max(1, width()));
    }
  }, { passive: false });
  scroll.addEventListener("pointermove", (event) => {
    const at = timeAt(event.clientX);
    lens.pointer = event.pointerType === "mouse" && event.clientX >= ticks.getBoundingClientRect().left ? at : null;
  }, { passive: true });
  scroll.addEventListener("pointerleave", () => {
    lens.pointer = null;
  });
  drag(ticks, {
    begin: (event) => (lens.zoomed ? { x: event.clientX } : null),
    move: (event, from) => {
      lens.pan((from.x - event.clientX) / Math.max(1, width()));
      from.x = event.clientX;
    },
  });
  ticks.addEventListener("dblclick", () => lens.fitAll());
}

// drag follows a pointer from where it went down: begin gives what is dragged, or
// null; move is called while it moves, end when it is let go of, with whether it
// ever moved.
export function drag(node, { begin, move, end = () => {} }) {
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const what = begin(event);
    if (!what) return;
    let moved = false;
    const x = event.clientX;
    node.setPointerCapture(event.pointerId);
    const follow = (e) => {
      if (e.pointerId !== event.pointerId) return;
      if (!moved && Math.abs(e.clientX - x) < 3) return;
      moved = true;
      move(e, what);
    };
    const stop = (e) => {
      if (e.pointerId !== event.pointerId) return;
      node.removeEventListener("pointermove", follow);
      node.removeEventListener("pointerup", stop);
      node.removeEventListener("pointercancel", stop);
      end(e, what, moved);
    };
    node.addEventListener("pointermove", follow);
    node.addEventListener("pointerup", stop);
    node.addEventListener("pointercancel", stop);
  });
}
