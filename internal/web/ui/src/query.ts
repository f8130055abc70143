import { closeCompletion } from "@codemirror/autocomplete";
import type uPlot from "uplot";
import { type Answer, type Result, type Sample, get } from "./api";
import { el, key, message, table } from "./dom";
import { promqlEditor } from "./editor";
import { draw, maxSeries } from "./graph";

const ranges: Record<string, number> = { "15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "2d": 172800, "1w": 604800, "4w": 2419200 };
const maxRows = 1000;

/** queryPage is the console: PromQL in, a table or a graph out. */
export function queryPage(main: HTMLElement): () => void {
  const state = new URLSearchParams(location.hash.split("?")[1] ?? "");
  let view: "graph" | "table" = state.get("view") === "table" ? "table" : "graph";
  let running: AbortController | undefined;
  let plot: uPlot | undefined;

  const box = el("div", { className: "editor" });
  const range = el("select", { title: "range" });
  for (const r of Object.keys(ranges)) range.append(el("option", { value: r, textContent: r, selected: r === (state.get("range") ?? "1h") }));
  const end = el("input", { type: "datetime-local", title: "end of the range; empty = now", step: "1", value: state.get("end") ?? "" });
  const step = el("input", { type: "number", min: "1", placeholder: "step s", title: "step in seconds; empty = automatic", className: "short", value: state.get("step") ?? "" });
  const runButton = el("button", { textContent: "Run", className: "primary", onclick: () => void run() });
  const viewButton = el("button", { onclick: () => ((view = view === "graph" ? "table" : "graph"), void run()) });
  const explainButton = el("button", { textContent: "Explain", title: "how the query would be split between the nodes", onclick: () => void run(explain) });
  const note = el("span", { className: "muted", id: "stats" });
  const out = el("div", { id: "result" });

  main.append(box, el("div", { className: "bar" }, runButton, viewButton, explainButton, range, end, step, note), out);
  const editor = promqlEditor(box, state.get("expr") ?? "", () => void run());
  range.onchange = end.onchange = step.onchange = () => void run();

  function nowSeconds(): number {
    return end.value ? new Date(end.value).getTime() / 1000 : Math.floor(Date.now() / 1000);
  }

  async function run(how?: (expr: string, signal: AbortSignal) => Promise<void>): Promise<void> {
    const expr = editor.state.doc.toString().trim();
    viewButton.textContent = view === "graph" ? "Table" : "Graph";
    closeCompletion(editor); // what it suggests would hide the answer
    if (!expr) return;
    const params = new URLSearchParams({ expr, view, range: range.value, end: end.value, step: step.value });
    history.replaceState(null, "", "#query?" + params);
    running?.abort();
    running = new AbortController();
    note.textContent = "running…";
    try {
      if (how) await how(expr, running.signal);
      else if (view === "graph") await graph(expr, running.signal);
      else await instant(expr, running.signal);
    } catch (e) {
      if (e instanceof DOMException && e.name === "AbortError") return;
      note.textContent = "";
      show(message("error", e instanceof Error ? e.message : String(e)));
    }
  }

  function show(...nodes: Node[]): void {
    plot?.destroy();
    plot = undefined;
    out.replaceChildren(...nodes);
  }

  function notices(a: Answer<unknown>): Node[] {
    return [...a.warnings.map((w) => message("warn", w)), ...a.infos.map((i) => message("info", i))];
  }

  async function instant(expr: string, signal: AbortSignal): Promise<void> {
    const a = await get<Result>("query", { query: expr, time: String(nowSeconds()) }, signal);
    const r = a.data;
    if (r.resultType === "scalar" || r.resultType === "string") {
      note.textContent = `${r.resultType}, ${a.millis.toFixed(0)} ms`;
      show(...notices(a), table(["value"], [[r.result[1]]]));
      return;
    }
    const series = r.result as Sample[];
    note.textContent = `${series.length} series, ${a.millis.toFixed(0)} ms`;
    const rows = series.slice(0, maxRows).map((s) => [key(s.metric), valueOf(s)]);
    const cut = series.length > maxRows ? [message("info", `the first ${maxRows} of ${series.length} series`)] : [];
    show(...notices(a), ...cut, rows.length ? table(["series", "value"], rows) : message("info", "no data"));
  }

  async function explain(expr: string, signal: AbortSignal): Promise<void> {
    const asked: Record<string, string> = { query: expr, explain: "true" };
    if (view === "graph") for (const [k, v] of Object.entries(bounds())) asked[k] = String(v);
    else asked.time = String(nowSeconds());
    const a = await get<{ explain: string }>(view === "graph" ? "query_range" : "query", asked, signal);
    note.textContent = "not run";
    show(el("pre", { id: "explain", textContent: a.data.explain }));
  }

  function valueOf(s: Sample): string {
    if (s.value) return s.value[1];
    if (s.histogram) return `histogram: count ${s.histogram[1].count}, sum ${s.histogram[1].sum}`;
    return (s.values ?? []).map(([t, v]) => `${v} @ ${t}`).join("\n");
  }

  /** bounds are those of the graph, in seconds, aligned to the step. */
  function bounds(): { start: number; end: number; step: number } {
    const length = ranges[range.value] ?? 3600;
    const every = Number(step.value) > 0 ? Number(step.value) : Math.max(1, Math.ceil(length / 400));
    const to = Math.floor(nowSeconds() / every) * every;
    return { start: to - Math.floor(length / every) * every, end: to, step: every };
  }

  async function graph(expr: string, signal: AbortSignal): Promise<void> {
    const { start: from, end: to, step: every } = bounds();
    const a = await get<Result>("query_range", { query: expr, start: String(from), end: String(to), step: String(every) }, signal);
    const series = a.data.result as Sample[];
    note.textContent = `${series.length} series, step ${every} s, ${a.millis.toFixed(0)} ms`;
    const box = el("div", { className: "plot" });
    const cut = series.length > maxSeries ? [message("info", `the first ${maxSeries} of ${series.length} series are drawn`)] : [];
    show(...notices(a), ...cut, series.length ? box : message("info", "no data in this range"));
    if (series.length) plot = draw(box, series, from, to, every);
  }

  const resized = () => plot?.setSize({ width: out.clientWidth, height: 380 });
  addEventListener("resize", resized);
  void run();
  return () => {
    running?.abort();
    removeEventListener("resize", resized);
    editor.destroy();
    plot?.destroy();
  };
}
