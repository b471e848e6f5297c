// What the server answers beside the stream: JSON at an address of its own.

// Answer asks for it when somebody wants it. What came stays: value (null before),
// and version, which grows with each. changed is called when one came, fetch stands
// in for the browser's in tests.
export class Answer {
  constructor(name, { changed, fetch = (...args) => globalThis.fetch(...args) }) {
    Object.assign(this, { name, changed, fetch });
    this.value = null;
    this.version = 0;
    this.of = "";
  }

  // want asks once for each thing that it is to be an answer of.
  want(of) {
    if (of === this.of) return;
    this.of = of;
    this.reading = this.read(of);
  }

  async read(of) {
    try {
      const reply = await this.fetch(this.name);
      if (!reply.ok) return;
      const value = await reply.json();
      if (of !== this.of || value === null) return;
      this.value = value;
      this.version++;
      this.changed();
    } catch {
      // The server is gone: the page goes on without, or with what it had.
    }
  }
}
