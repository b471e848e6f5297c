// The connection to the server's event stream.

const WAITS = [1000, 2000, 4000, 8000, 15000];

// The server speaks about once a second while the run lives. A connection that
// says nothing for this long is dead, whatever the network believes.
const DEAF_MS = 15000;

// Stream keeps a connection to url. It tells onDelta what each message holds, onLast
// of the run before this one, and onState when its state changed: connecting, live, offline, ended. The browser
// reconnects by itself, with the id of the last message; where it gives up, or the
// line is dead, a new connection is opened after 1, 2, 4, 8, 15 s. open, wait and
// now stand in for EventSource, setTimeout and the clock in tests.
export class Stream {
  constructor({ url, onDelta, onLast = () => {}, onState, open = (u) => new EventSource(u), wait = (f, ms) => setTimeout(f, ms), now = Date.now }) {
    Object.assign(this, { url, onDelta, onLast, onState, open, wait, now });
    this.state = "connecting";
    this.since = now(); // when the state began
    this.retryAt = 0; // when the next try is due; 0 while the browser tries
    this.tries = 0;
    this.opened = false; // the server has answered once
    this.connect();
  }

  connect() {
    this.source?.close();
    this.retryAt = 0;
    this.heard = this.now();
    const source = this.open(this.url);
    this.source = source;
    const mine = () => this.source === source && this.state !== "ended";
    source.addEventListener("open", () => {
      if (!mine()) return;
      this.heard = this.now();
      this.opened = true;
      if (this.state === "connecting") this.onState(this);
    });
    source.addEventListener("message", (event) => {
      if (!mine()) return;
      let delta;
      try {
        delta = JSON.parse(event.data);
      } catch {
        this.restart();
        return;
      }
      this.heard = this.now();
      if (this.onDelta(delta) === false) {
        this.restart();
        return;
      }
      this.tries = 0;
      this.become("live");
    });
    source.addEventListener("last", (event) => {
      if (mine()) this.onLast(JSON.parse(event.data));
    });
    source.addEventListener("end", () => {
      if (!mine()) return;
      source.close();
      this.become("ended");
    });
    source.addEventListener("error", () => {
      if (!mine()) return;
      if (source.readyState === 2) this.restart();
      else this.become("offline");
    });
  }

  // restart opens a new connection after a while: the whole state comes again.
  restart() {
    const source = this.source;
    source.close();
    const pause = WAITS[Math.min(this.tries++, WAITS.length - 1)];
    this.retryAt = this.now() + pause;
    this.become("offline");
    this.wait(() => {
      if (this.source === source && this.state !== "ended") this.connect();
    }, pause);
  }

  // retry is for a user who does not want to wait.
  retry() {
    if (this.state !== "ended") this.connect();
  }

  // check is called now and then by a page that is seen.
  check() {
    if (this.state === "live" && this.now() - this.heard > DEAF_MS) this.restart();
  }

  become(state) {
    if (state === this.state) {
      if (state === "offline") this.onState(this);
      return;
    }
    this.state = state;
    this.since = this.now();
    this.onState(this);
  }
}
