// Calls to the node that served the page. Addresses are relative to it, so a
// route prefix in front changes nothing.

/** Where the API lies: the page is at <prefix>/ui/. */
export const root = new URL("../", document.baseURI).href;

export interface Sample {
  metric: Record<string, string>;
  value?: [number, string];
  values?: [number, string][];
  histogram?: [number, Histogram];
}

export interface Histogram {
  count: string;
  sum: string;
}

export type Result =
  | { resultType: "vector" | "matrix"; result: Sample[] }
  | { resultType: "scalar" | "string"; result: [number, string] };

export interface Answer<T> {
  data: T;
  warnings: string[];
  infos: string[];
  millis: number;
}

/** An error as the API words it. */
export class ApiError extends Error {}

/** get calls an endpoint of the HTTP API v1 and unwraps its envelope. */
export async function get<T>(path: string, params: Record<string, string> = {}, signal?: AbortSignal): Promise<Answer<T>> {
  const begun = performance.now();
  const url = new URL("api/v1/" + path, root);
  for (const [k, v] of Object.entries(params)) url.searchParams.set(k, v);
  const response = await fetch(url, { signal });
  const text = await response.text();
  let body: { status?: string; error?: string; data?: T; warnings?: string[]; infos?: string[] };
  try {
    body = JSON.parse(text);
  } catch {
    throw new ApiError(`${response.status}: ${text.slice(0, 300)}`);
  }
  if (body.status !== "success") throw new ApiError(body.error ?? `status ${response.status}`);
  return {
    data: body.data as T,
    warnings: body.warnings ?? [],
    infos: body.infos ?? [],
    millis: performance.now() - begun,
  };
}

/** post calls an endpoint that changes something and answers nothing. */
export async function post(path: string, params: Record<string, string>): Promise<void> {
  const response = await fetch(new URL("api/v1/" + path, root), { method: "POST", body: new URLSearchParams(params) });
  if (!response.ok) throw new ApiError(`${response.status}: ${(await response.text()).slice(0, 300)}`);
}

/** json fetches a document that is no API v1 envelope, such as /health. */
export async function json<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(new URL(path, root), init);
  const text = await response.text();
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError(`${response.status}: ${text.slice(0, 300)}`);
  }
}
