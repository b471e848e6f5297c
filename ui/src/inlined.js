// The state of a page that has no server: it stands in the document.

// inlined gives what opens in place of an event stream, or undefined where the page
// has a server. It speaks as the stream of a run does that is over. Whoever asks for
// a file of the run gets it from the document, or is told that there is none.
export function inlined(element) {
  if (!element) return undefined;
  const last = document.querySelector('script[data-file="last"]');
  const files = new Map();
  for (const node of document.querySelectorAll("script[data-file]")) files.set(node.dataset.file, new Blob([JSON.parse(node.textContent)]));
  globalThis.fetch = async (name) => {
    if (name === "files") return new Response(JSON.stringify(Object.fromEntries([...files].map(([file, blob]) => [file, blob.size]))));
    return files.has(name) ? new Response(files.get(name)) : new Response("", { status: 404 });
  };
  return () => {
    const source = new EventTarget();
    source.readyState = 1;
    source.close = () => { source.readyState = 2; };
    setTimeout(() => {
      source.dispatchEvent(new Event("open"));
      source.dispatchEvent(new MessageEvent("message", { data: element.textContent }));
      if (last) source.dispatchEvent(new MessageEvent("last", { data: JSON.parse(last.textContent) }));
      source.dispatchEvent(new Event("end"));
    });
    return source;
  };
}
