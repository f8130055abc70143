import { get } from "./api";
import { el, message, percent, table, time } from "./dom";

interface Entry {
  name: string;
  value: number;
}

interface Status {
  headStats: { numSeries: number; numLabelPairs: number; minTime: number; maxTime: number };
  seriesCountByMetricName: Entry[] | null;
  labelValueCountByLabelName: Entry[] | null;
  memoryInBytesByLabelName: Entry[] | null;
  seriesCountByLabelValuePair: Entry[] | null;
}

interface Churn {
  start: number; // ms
  end: number; // ms
  series: number;
  new_series: number;
  newSeriesCountByMetricName: Entry[];
}

function list(title: string, head: string, entries: Entry[] | null): HTMLElement {
  return el("section", {}, el("h2", { textContent: title }), table([head, "count"], (entries ?? []).map((e) => [e.name, e.value])));
}

/** churn shows how many series of each window are new, and whose they are. */
function churn(windows: Churn[]): HTMLElement {
  const rows = windows.map((w) => [
    `${time(w.start / 1000)} to ${time(w.end / 1000)}`,
    w.series,
    w.new_series,
    w.series ? percent(w.new_series / w.series) : "",
    w.newSeriesCountByMetricName.map((m) => `${m.name} ${m.value.toLocaleString("en")}`).join(", "),
  ]);
  return el(
    "section",
    { id: "churn" },
    el("h2", { textContent: "Churn: series that the window before does not have" }),
    rows.length
      ? table(["window", "series", "new", "part", "most of them"], rows)
      : message("info", "Two windows of two hours with flushed samples are needed to compare them."),
  );
}

/** cardinalityPage shows what the series are made of, the biggest first. */
export function cardinalityPage(main: HTMLElement): () => void {
  const stop = new AbortController();
  const out = el("div", { id: "cardinality" });
  main.append(out);
  Promise.all([get<Status>("status/tsdb", { limit: "20" }, stop.signal), get<Churn[]>("status/churn", { windows: "12", limit: "5" }, stop.signal)]).then(
    ([{ data }, changed]) => {
      out.append(
        el("p", { className: "big", textContent: `${data.headStats.numSeries.toLocaleString("en")} series on this node` }),
        churn(changed.data),
        el(
          "div",
          { className: "grid" },
          list("Series by metric", "metric", data.seriesCountByMetricName),
          list("Values by label", "label", data.labelValueCountByLabelName),
          list("Series by label and value", "label=value", data.seriesCountByLabelValuePair),
          list("Bytes by label", "label", data.memoryInBytesByLabelName),
        ),
      );
    },
    (e: Error) => stop.signal.aborted || out.append(message("error", e.message)),
  );
  return () => stop.abort();
}
