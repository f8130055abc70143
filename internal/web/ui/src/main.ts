import "./style.css";
import { json } from "./api";
import { cardinalityPage } from "./cardinality";
import { clusterPage } from "./cluster";
import { el } from "./dom";
import { queriesPage } from "./queries";
import { queryPage } from "./query";

/** A page fills main and returns what ends it. */
type Page = (main: HTMLElement) => () => void;

const pages: Record<string, { title: string; page: Page }> = {
  query: { title: "Query", page: queryPage },
  queries: { title: "Queries", page: queriesPage },
  cluster: { title: "Cluster", page: clusterPage },
  cardinality: { title: "Cardinality", page: cardinalityPage },
};

const main = document.getElementById("main")!;
const tabs = document.getElementById("tabs")!;
const health = document.getElementById("health")!;
let leave: (() => void) | undefined;

function open(): void {
  const name = location.hash.slice(1).split("?")[0] || "query";
  const found = pages[name] ?? pages.query!;
  leave?.();
  main.replaceChildren();
  tabs.replaceChildren(
    ...Object.entries(pages).map(([k, p]) => el("a", { href: "#" + k, textContent: p.title, className: p === found ? "on" : "" })),
  );
  leave = found.page(main);
}

async function watchHealth(): Promise<void> {
  try {
    const h = await json<{ status: string; node_id: number; cluster_size: number }>("health");
    health.textContent = `node ${h.node_id} of ${h.cluster_size}: ${h.status}`;
    health.dataset.status = h.status;
  } catch {
    health.textContent = "node does not answer";
    health.dataset.status = "unhealthy";
  }
}

addEventListener("hashchange", open);
open();
void watchHealth();
setInterval(() => void watchHealth(), 5000);
