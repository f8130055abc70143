import { get, post } from "./api";
import { el, message, table } from "./dom";

interface ActiveQuery {
  id: number;
  query: string;
  start: number;
  end: number;
  step: number;
  running_seconds: number;
}

/** time writes seconds since 1970 as a local time. */
function time(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString();
}

/** queriesPage lists what runs on the node, and goes on asking. */
export function queriesPage(main: HTMLElement): () => void {
  const note = el("div");
  const out = el("div", { id: "queries" });
  main.append(el("p", { className: "muted", textContent: "PromQL queries that run on this node now, the oldest first." }), note, out);
  let on = true;

  async function cancel(id: number): Promise<void> {
    try {
      await post("admin/cancel_query", { id: String(id) });
      note.replaceChildren();
    } catch (e) {
      note.replaceChildren(message("error", `${e instanceof Error ? e.message : e} (cancelling needs ADMIN_API=true)`));
    }
    await refresh();
  }

  async function refresh(): Promise<void> {
    try {
      const { data } = await get<ActiveQuery[]>("status/active_queries");
      if (!on) return;
      const rows = data.map((q) => [
        q.id,
        q.query,
        q.step ? `${time(q.start)} to ${time(q.end)}, step ${q.step} s` : time(q.start),
        `${q.running_seconds.toFixed(1)} s`,
        el("button", { textContent: "Cancel", onclick: () => void cancel(q.id) }),
      ]);
      out.replaceChildren(rows.length ? table(["id", "query", "of", "runs for", ""], rows) : message("info", "none"));
    } catch (e) {
      if (on) out.replaceChildren(message("error", e instanceof Error ? e.message : String(e)));
    }
  }
  void refresh();
  const timer = setInterval(() => void refresh(), 1000);
  return () => {
    on = false;
    clearInterval(timer);
  };
}
