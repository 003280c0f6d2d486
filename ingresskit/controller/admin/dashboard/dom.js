// Making elements. Text becomes text nodes and nothing else: no string is ever parsed as HTML.

/** An element with attributes (`class`, `data-…`, `on…` listeners; null is left out) and children. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

export const byId = (id) => document.getElementById(id);

export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null));
}

/** A cell that says what it is when the table is a list of cards on a narrow screen. */
export const cell = (label, ...children) => el("td", { "data-label": label }, el("div", {}, ...children));

export const number = (value) => (value ?? 0).toLocaleString("en-US");

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** "12 s", "5 min", "3 h", "41 d" */
export function span(seconds) {
  const length = Math.max(0, Math.round(seconds));
  if (length < 90) return `${length} s`;
  if (length < 5400) return `${Math.round(length / 60)} min`;
  if (length < 172800) return `${Math.round(length / 3600)} h`;
  return `${Math.round(length / 86400)} d`;
}

export function duration(seconds) {
  if (seconds < 0.0001) return "under 0.1 ms";
  return seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`;
}

/**
 * A long table that the tab never has to hold whole: rows are made a page at a time, as the reader
 * comes near the end, or by the button below it for who reads by keyboard.
 */
export class LongTable {
  constructor(name, makeRow, { page = 100, empty = "Nothing here." } = {}) {
    this.body = byId(`${name}-rows`);
    this.more = byId(`${name}-more`);
    this.makeRow = makeRow;
    this.page = page;
    this.empty = empty;
    this.items = [];
    this.made = 0;
    this.columns = this.body.closest("table").tHead.rows[0].cells.length;
    this.more.addEventListener("click", () => this.grow());
    new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && this.grow(), {
      rootMargin: "600px",
    }).observe(this.more);
  }

  /** Show *items*; with *keep*, as many as were shown before, so that a refresh does not jump. */
  show(items, { keep = false } = {}) {
    const before = keep ? this.made : 0;
    this.items = items;
    this.made = 0;
    this.body.replaceChildren();
    this.grow(Math.max(before, this.page));
    if (!items.length) {
      this.body.append(el("tr", {}, el("td", { colspan: String(this.columns), class: "empty" }, this.empty)));
    }
  }

  grow(count = this.page) {
    const rows = this.items.slice(this.made, this.made + count).map(this.makeRow);
    this.made += rows.length;
    this.body.append(...rows);
    const left = this.items.length - this.made;
    this.more.hidden = left === 0;
    this.more.textContent = `Show more (${number(left)} left)`;
  }
}
