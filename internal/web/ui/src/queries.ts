import { get, post } from "./api";
import { brief, el, message, table, time } from "./dom";

interface Query {
  id: number;
  query: string;
  start: number;
  end: number;
  step: number;
}

interface ActiveQuery extends Query {
  running_seconds: number;
}

interface SlowQuery extends Query {
  began: number;
  took_seconds: number;
  evaluation: string;
  series: number;
  error?: string;
}

/** of says what range of time a query is about. */
function of(q: Query): string {
  return q.step ? `${time(q.start)} to ${time(q.end)}, step ${q.step} s` : time(q.start);
}

/** again is a link that puts a query into the console. */
function again(q: Query): HTMLElement {
  const range: Record<string, string> = q.step ? { view: "graph" } : { view: "table" };
  return el("a", { href: "#query?" + new URLSearchParams({ expr: q.query, ...range }) }, brief(q.query));
}

/** queriesPage lists what runs on the node and what was slow, and goes on asking. */
export function queriesPage(main: HTMLElement): () => void {
  const note = el("div");
  const active = el("div", { id: "queries" });
  const slow = el("div", { id: "slow" });
  main.append(
    el("section", {}, el("h2", { textContent: "PromQL queries that run on this node now, the oldest first" }), note, active),
    el("section", {}, el("h2", { textContent: "The slowest of the last hour" }), slow),
  );
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

  function showActive(queries: ActiveQuery[]): void {
    const rows = queries.map((q) => [
      q.id,
      brief(q.query),
      of(q),
      `${q.running_seconds.toFixed(1)} s`,
      el("button", { textContent: "Cancel", onclick: () => void cancel(q.id) }),
    ]);
    active.replaceChildren(rows.length ? table(["id", "query", "of", "runs for", ""], rows) : message("info", "none"));
  }

  function showSlow(queries: SlowQuery[]): void {
    const rows = queries.map((q) => [Number(q.took_seconds.toFixed(4)), again(q), of(q), time(q.began), q.error ?? `${q.series} series`, q.evaluation]);
    slow.replaceChildren(rows.length ? table(["took, s", "query", "of", "began", "answer", "evaluation"], rows) : message("info", "none"));
  }

  async function refresh(): Promise<void> {
    try {
      const [running, ended] = await Promise.all([get<ActiveQuery[]>("status/active_queries"), get<SlowQuery[]>("status/slow_queries")]);
      if (!on) return;
      showActive(running.data);
      showSlow(ended.data);
    } catch (e) {
      if (on) active.replaceChildren(message("error", e instanceof Error ? e.message : String(e)));
    }
  }
  void refresh();
  const timer = setInterval(() => void refresh(), 1000);
  return () => {
    on = false;
    clearInterval(timer);
  };
}
