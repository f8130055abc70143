import { get } from "./api";
import { el, message, table } from "./dom";

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

/** cardinalityPage shows what the series are made of, the biggest first. */
export function cardinalityPage(main: HTMLElement): () => void {
  const stop = new AbortController();
  const out = el("div");
  main.append(out);
  get<Status>("status/tsdb", { limit: "20" }, stop.signal).then(
    ({ data }) => {
      const list = (title: string, head: string, entries: Entry[] | null) =>
        el("section", {}, el("h2", { textContent: title }), table([head, "count"], (entries ?? []).map((e) => [e.name, e.value])));
      out.append(
        el("p", { className: "big", textContent: `${data.headStats.numSeries.toLocaleString("en")} series on this node` }),
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
