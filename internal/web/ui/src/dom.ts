// A few words for making elements. Text is always set as text, never as HTML.

type Child = Node | string | null | undefined;

/** el makes an element with properties and children. */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Partial<HTMLElementTagNameMap[K]> & { dataset?: Record<string, string> } = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  const { dataset, ...rest } = props;
  Object.assign(node, rest);
  Object.assign(node.dataset, dataset ?? {});
  for (const c of children) if (c != null) node.append(c);
  return node;
}

/** table makes a table; numbers are set to the right. */
export function table(head: string[], rows: (string | number | Node)[][]): HTMLTableElement {
  const body = el("tbody");
  for (const r of rows) {
    const tr = el("tr");
    for (const cell of r) {
      const td = el("td", { className: typeof cell === "number" ? "num" : "" });
      td.append(cell instanceof Node ? cell : String(cell));
      tr.append(td);
    }
    body.append(tr);
  }
  const tr = el("tr");
  head.forEach((h, i) => tr.append(el("th", { textContent: h, className: typeof rows[0]?.[i] === "number" ? "num" : "" })));
  return el("table", {}, el("thead", {}, tr), body);
}

/** key writes a label set as a series key. */
export function key(metric: Record<string, string>): string {
  const labels = Object.entries(metric)
    .filter(([k]) => k !== "__name__")
    .map(([k, v]) => `${k}=${JSON.stringify(v)}`);
  const name = metric.__name__ ?? "";
  return labels.length ? `${name}{${labels.join(", ")}}` : name || "{}";
}

/** bytes writes a size in powers of 1024. */
export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${n.toFixed(i && n < 100 ? 1 : 0)} ${units[i]}`;
}

/** message shows a line of text of a kind: error, warn or info. */
export function message(kind: "error" | "warn" | "info", text: string): HTMLElement {
  return el("p", { className: "msg " + kind, textContent: text });
}

/** brief cuts a long text; the whole of it is seen when it is pointed at. */
export function brief(text: string, length = 160): HTMLElement {
  return el("span", { textContent: text.length > length ? text.slice(0, length) + "…" : text, title: text });
}

/** percent writes a part of 1. */
export function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}

/** time writes seconds since 1970 as a local time. */
export function time(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString();
}
