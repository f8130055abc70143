import { ApiError, json } from "./api";
import { bytes, el, message, percent, table } from "./dom";

interface Node {
  id: number;
  address: string;
  status: string;
  last_seen: number; // ms
  data_size: number; // bytes
  zone?: string;
  member: boolean;
  in_sight: boolean;
  refilling?: boolean;
  owed_bytes: number;
  error?: string;
}

interface Status {
  node_id: number;
  cluster: string;
  ring: number;
  replication_factor: number;
  write_quorum: number;
  majority: boolean;
  refilling?: string;
  problems?: string[];
  change?: Record<string, unknown>;
  nodes: Node[];
}

interface Planned {
  id: number;
  share_before: number;
  share_after: number;
  copies: number;
  bytes: number;
}

interface Ring {
  members: { id: number; share: number }[] | null;
  plan?: { change: string; share: number; bytes: number; nodes: Planned[] | null };
  error?: string;
}

interface Repair {
  oldest_unverified_seconds: number;
  ranges: number;
  verified_ranges_total: number;
  last_error?: string;
}

/** span writes seconds as people say them. */
function span(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** copies says in a sentence whether all copies are there. */
function copies(s: Status): HTMLElement {
  const members = s.nodes.filter((n) => n.member);
  const away = members.filter((n) => !n.in_sight || n.refilling);
  const owed = s.nodes.reduce((sum, n) => sum + n.owed_bytes, 0);
  const lag = away.length || owed ? "warn" : "info";
  if (!s.majority) return message("error", "This node sees no majority of the members: it takes no writes, and its answers may be incomplete.");
  if (!members.length) return message("info", "There is no ring yet.");
  const all = Math.min(s.replication_factor, members.length);
  const text = away.length
    ? `Of ${s.replication_factor} copies some are behind: node ${away.map((n) => n.id).join(", ")} is away or catching up.`
    : owed
      ? "All members are here; some are still owed writes."
      : `All members are here and are owed nothing: every sample has its ${all === 1 ? "one copy" : all + " copies"}, as far as this node knows.`;
  return message(lag, text);
}

function members(s: Status, ring: Ring): HTMLElement {
  const share = new Map((ring.members ?? []).map((m) => [m.id, m.share]));
  const rows = s.nodes.map((n) => {
    const row: (string | number | globalThis.Node)[] = [
      n.id === s.node_id ? `${n.id} (this)` : String(n.id),
      n.address,
      el("span", { className: n.in_sight ? "up" : "down", textContent: n.refilling ? "catching up" : n.in_sight ? n.status || "active" : "not in sight" }),
      share.has(n.id) ? percent(share.get(n.id)!) : "",
      bytes(n.data_size),
      n.owed_bytes ? bytes(n.owed_bytes) : "nothing",
      n.zone ?? "",
      n.error ?? "",
    ];
    return row;
  });
  return el("section", {}, el("h2", { textContent: "Nodes" }), table(["node", "address", "state", "owns", "data", "owed by this node", "zone", "last error"], rows));
}

function health(s: Status, repair: Repair): HTMLElement {
  const rows: [string, string][] = [
    ["ring", `number ${s.ring}, ${s.replication_factor} copies, of which ${s.write_quorum} acknowledge a write`],
    ["owed to others", bytes(s.nodes.reduce((sum, n) => sum + n.owed_bytes, 0))],
    ["longest without a comparison", repair.ranges ? span(repair.oldest_unverified_seconds) : "there is nothing to compare"],
    ["compared since the start", `${repair.verified_ranges_total} ranges of time`],
  ];
  if (repair.last_error) rows.push(["last comparison that failed", repair.last_error]);
  if (s.refilling) rows.push(["this node is catching up", s.refilling]);
  if (s.change) rows.push(["change under way", Object.entries(s.change).map(([k, v]) => `${k.replaceAll("_", " ")}: ${String(v)}`).join("; ")]);
  return el("section", { id: "replication" }, el("h2", { textContent: "Replication and repair" }), table(["", ""], rows));
}

/** planner asks what a join or a leave would move; nothing is changed by it. */
function planner(): HTMLElement {
  const out = el("div", { id: "plan" });
  const node = el("input", { type: "number", min: "1", placeholder: "node id", className: "short", title: "id of the node that would join or leave" });
  async function ask(change: "join" | "leave"): Promise<void> {
    try {
      const r = await json<Ring>(`cluster/ring?${change}=${encodeURIComponent(node.value)}`);
      if (!r.plan) throw new ApiError(r.error ?? "no answer");
      const p = r.plan;
      const rows = (p.nodes ?? []).map((n) => [String(n.id), percent(n.share_before), percent(n.share_after), n.copies ? `${percent(n.copies)}, about ${bytes(n.bytes)}` : "nothing"]);
      out.replaceChildren(
        message("info", `${p.change}: ${p.share ? `copies of ${percent(p.share)} of all series move, about ${bytes(p.bytes)}` : "no data moves"}`),
        table(["node", "owns now", "would own", "would copy"], rows),
      );
    } catch (e) {
      out.replaceChildren(message("error", e instanceof Error ? e.message : String(e)));
    }
  }
  const button = (textContent: string, change: "join" | "leave") => el("button", { textContent, onclick: () => void ask(change) });
  return el("section", {}, el("h2", { textContent: "What would move if a node …" }), el("div", { className: "bar" }, node, button("joined", "join"), button("left", "leave")), out);
}

/** clusterPage shows what the node knows of its cluster, and goes on asking. */
export function clusterPage(main: HTMLElement): () => void {
  const out = el("div", { id: "cluster" });
  main.append(out, planner());
  let on = true;
  async function refresh(): Promise<void> {
    try {
      const [status, ring, repair] = await Promise.all([json<Status>("cluster/status"), json<Ring>("cluster/ring"), json<Repair>("cluster/repair")]);
      if (!on) return;
      const problems = (status.problems ?? []).map((p) => message("warn", p));
      out.replaceChildren(
        el("p", { className: "big", textContent: `${status.cluster || "cluster"}, as node ${status.node_id} sees it` }),
        copies(status),
        ...problems,
        members(status, ring),
        health(status, repair),
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
