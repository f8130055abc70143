import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Sample } from "./api";
import { key } from "./dom";

/** maxSeries bounds what a graph draws: more cannot be told apart. */
export const maxSeries = 200;

function css(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** colour spreads hues by the golden angle, so neighbours differ. */
function colour(i: number): string {
  return `hsl(${(i * 137.508) % 360} 65% 50%)`;
}

/** draw draws a matrix over a range with a step (all in seconds); gaps stay gaps. */
export function draw(parent: HTMLElement, series: Sample[], start: number, end: number, step: number): uPlot {
  const n = Math.floor((end - start) / step) + 1;
  const xs = Array.from({ length: n }, (_, i) => start + i * step);
  const shown = series.slice(0, maxSeries);
  const columns = shown.map((s) => {
    const ys: (number | null)[] = new Array(n).fill(null);
    for (const [t, v] of s.values ?? []) {
      const i = Math.round((t - start) / step);
      const y = Number(v);
      if (i >= 0 && i < n && Number.isFinite(y)) ys[i] = y;
    }
    return ys;
  });
  const axis = { stroke: css("--muted"), grid: { stroke: css("--line") }, ticks: { stroke: css("--line") } };
  return new uPlot(
    {
      width: parent.clientWidth,
      height: 380,
      cursor: { focus: { prox: 24 } },
      focus: { alpha: 0.25 },
      legend: { show: shown.length <= 20 },
      scales: { x: { time: true } },
      axes: [axis, { ...axis, size: 70 }],
      series: [
        {},
        ...shown.map((s, i) => ({
          label: key(s.metric),
          stroke: colour(i),
          width: 1.5,
          points: { show: n < 60 },
        })),
      ],
    },
    [xs, ...columns] as uPlot.AlignedData,
    parent,
  );
}
