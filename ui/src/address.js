// The view in the address bar. The part behind the # never leaves the browser.

import { fromHash, toHash } from "./view.js";

const PAUSE_MS = 300; // browsers refuse more than some changes a second

export class Address {
  // changed is called with the view of an address that the user put in.
  constructor(changed) {
    this.shown = location.hash.slice(1);
    addEventListener("hashchange", () => {
      const hash = location.hash.slice(1);
      if (hash === this.shown) return;
      this.shown = hash;
      changed(fromHash(hash));
    });
  }

  // read gives the view of the address as it stands.
  read() {
    return fromHash(location.hash);
  }

  // note has the view put into the address, a little later.
  note(view) {
    this.view = view;
    if (this.timer || toHash(view) === this.shown) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.write();
    }, PAUSE_MS);
  }

  write() {
    const hash = toHash(this.view);
    if (hash === this.shown) return;
    this.shown = hash;
    try {
      history.replaceState(history.state, "", hash ? `#${hash}` : location.pathname + location.search);
    } catch {
      // A page from disk that may not: its links then are those of the whole run.
    }
  }

  // copy puts the whole address on the clipboard; it tells whether it could.
  async copy(view) {
    this.view = view;
    this.write();
    try {
      await navigator.clipboard.writeText(location.href);
      return true;
    } catch {
      return false;
    }
  }
}
