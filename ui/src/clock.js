// The server's clock as seen from here. Pure.

const SAMPLES = 8;

// ServerClock estimates the server's time. Each sample carries the difference of
// the two clocks plus the way of the message, so the smallest of the last few is
// the nearest to the truth. It can be held, for a page that is offline.
export class ServerClock {
  constructor(client = Date.now) {
    this.client = client;
    this.samples = [];
    this.held = null;
  }

  // sample takes in what the server's clock said just now, Unix milliseconds.
  sample(server) {
    this.samples.push(this.client() - server);
    if (this.samples.length > SAMPLES) this.samples.shift();
    this.held = null;
  }

  hold() {
    if (this.held === null) this.held = this.now();
  }

  get known() {
    return this.samples.length > 0;
  }

  now() {
    if (this.held !== null) return this.held;
    return this.client() - (this.known ? Math.min(...this.samples) : 0);
  }
}
