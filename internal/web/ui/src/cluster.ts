import { json } from "./api";
import { el, message, table } from "./dom";

/** show turns any JSON value into nodes: lists of objects become tables. */
function show(value: unknown): Node {
  if (Array.isArray(value) && value.length && value.every((v) => v && typeof v === "object" && !Array.isArray(v))) {
    const head = [...new Set(value.flatMap((v) => Object.keys(v as object)))];
    return table(head, value.map((v) => head.map((h) => cell((v as Record<string, unknown>)[h]))));
  }
  if (Array.isArray(value)) return document.createTextNode(value.map(String).join(", ") || "none");
  if (value && typeof value === "object") {
    return table(["", ""], Object.entries(value).map(([k, v]) => [k, cell(v)]));
  }
  return document.createTextNode(String(value ?? ""));
}

function cell(v: unknown): string | number | Node {
  return typeof v === "number" || typeof v === "string" ? v : show(v);
}

/** clusterPage shows what the node knows of its cluster, and goes on asking. */
export function clusterPage(main: HTMLElement): () => void {
  const out = el("div", { id: "cluster" });
  main.append(out);
  let on = true;
  async function refresh(): Promise<void> {
    try {
      const status = await json<Record<string, unknown>>("cluster/status");
      if (!on) return;
      const lists = Object.entries(status).filter(([, v]) => Array.isArray(v) || (v && typeof v === "object"));
      const plain = Object.fromEntries(Object.entries(status).filter(([, v]) => !v || typeof v !== "object"));
      out.replaceChildren(
        el("section", {}, el("h2", { textContent: "This node's view" }), show(plain)),
        ...lists.map(([k, v]) => el("section", {}, el("h2", { textContent: k.replaceAll("_", " ") }), show(v))),
      );
    } catch (e) {
      if (on) out.replaceChildren(message("error", e instanceof Error ? e.message : String(e)));
    }
  }
  void refresh();
  const timer = setInterval(() => void refresh(), 3000);
  return () => {
    on = false;
    clearInterval(timer);
  };
}
