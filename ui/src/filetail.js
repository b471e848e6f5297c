// A file of the run's directory that may still grow, read from where it was left.

// FileTail reads one file. listed is false for an address that is not one of the
// run's files and so in no list. fetch stands in for the browser's in tests.
export class FileTail {
  constructor(name, { fetch = (...args) => globalThis.fetch(...args), listed = true } = {}) {
    Object.assign(this, { name, fetch, listed });
    this.size = 0; // bytes that were read
    this.whole = 0; // bytes that there were, when it was asked for
    this.decoder = new TextDecoder();
  }

  // more gives the text that was added, "" where nothing was; null where there is no
  // such file. It fails where the server does.
  async more() {
    if (this.listed) {
      const files = await (await this.fetch("files")).json();
      this.whole = files[this.name] ?? 0;
      if (!(this.whole > this.size)) return this.name in files || this.size ? "" : null;
    }
    const reply = await this.fetch(this.name, this.size ? { headers: { Range: `bytes=${this.size}-` } } : {});
    if (this.size && reply.status !== 206) return ""; // it has not grown
    if (!reply.ok) throw new Error(`${this.name}: ${reply.status}`);
    const bytes = new Uint8Array(await reply.arrayBuffer());
    this.size += bytes.length;
    return this.decoder.decode(bytes, { stream: true });
  }
}
