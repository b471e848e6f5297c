// Elements. Text from outside becomes text and nothing else: there is no way here
// to turn a string into markup. The set functions touch the page only when
// something changed, so drawing the same state again costs no layout.

const SVG = "http://www.w3.org/2000/svg";

// el makes an element of a class with children: nodes, or strings as text.
export function el(tag, className = "", ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

export function svgEl(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function setText(node, value) {
  const first = node.firstChild;
  if (first && first === node.lastChild && first.nodeType === 3) {
    if (first.data !== value) first.data = value;
  } else if (first || value !== "") {
    node.textContent = value;
  }
}

// setAttr sets an attribute; null takes it away.
export function setAttr(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

// setStyle sets a style property, a custom one too. What was set is remembered on
// the node: reading it back would be slower than setting it.
export function setStyle(node, name, value) {
  const told = (node.told ??= {});
  if (told[name] === value) return;
  told[name] = value;
  node.style.setProperty(name, value);
}

export function setClass(node, value) {
  if (node.className !== value) node.className = value;
}

// setShown works on SVG elements too, which have the attribute but no property.
export function setShown(node, shown) {
  if (node.hasAttribute("hidden") === shown) node.toggleAttribute("hidden", !shown);
}

export const px = (n) => `${Math.round(n * 10) / 10}px`;

// keep fits the children of a list to a count: make makes a new one.
export function keep(list, count, make) {
  while (list.children.length > count) list.lastElementChild.remove();
  while (list.children.length < count) list.append(make());
}
