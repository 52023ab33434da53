// SPDX-License-Identifier: MIT

import { afterEach, describe, expect, test, vi } from "vitest";
import { CannotCheck, Usage, Wrong, hex, sha256, utf8 } from "verify-bundle";

import { MAX_BYTES } from "../src/documents.ts";
import { NoRegistry, NotAskedFor, NotHere, Server, TokenNeeded, apiBeside } from "../src/server.ts";

const BASE = "http://registry.example/api/v1/";
const ID = "MRV-1";
const RECORD = {
  mrv_id: ID, hash: "ab".repeat(32), schema_version: "1.0", experiment_name: "e", model_name: "m", dataset_name: "d", status: "completed",
  ended_at: "2026-01-11T08:00:00Z", energy_uwh: 1, co2e_mg: null, submitted_at: "2026-01-11T08:00:00.000001Z", networks: ["ethereum"],
  has_samples: true,
};
const BUNDLE = { hash: "cd".repeat(32), run_id: "r", root: `sha256:${"ef".repeat(32)}`, submitted_at: "2026-01-11T08:00:00Z" };
const ALL = { query: "", cursor: null };
const never = new AbortController().signal;

const json = (value: unknown, init: ResponseInit = {}) =>
  new Response(typeof value === "string" ? value : JSON.stringify(value), { headers: { "content-type": "application/json" }, ...init });
const problem = (status: number, headers: Record<string, string> = {}) =>
  json({ type: "about:blank", title: "t", status, detail: "its detail" }, { status, headers: { "content-type": "application/problem+json", ...headers } });
const page = (status = 200) => new Response("<!doctype html>", { status, headers: { "content-type": "text/html; charset=utf-8" } });

/** A server that gives these answers by path; what was asked is in the list returned with it. */
function answering(answers: Record<string, () => Response | Promise<Response>>): [Server, { url: string; init: RequestInit }[]] {
  const asked: { url: string; init: RequestInit }[] = [];
  vi.stubGlobal("fetch", async (url: string, init: RequestInit) => {
    asked.push({ url, init });
    const answer = answers[url.slice(BASE.length).replace(/\?.*/, "")];
    if (answer === undefined) throw new TypeError("Failed to fetch");
    return answer();
  });
  return [new Server(BASE), asked];
}

const listed = (answer: () => Response) => answering({ records: answer })[0].records(ALL, never);
const kindOf = (error: unknown) => (error as Error).constructor;
const failed = (asking: Promise<unknown>) => asking.then(() => null, (error: unknown) => error as Error);

afterEach(() => void vi.unstubAllGlobals());

test("the registry is beside the page, and nowhere else", () => {
  expect(apiBeside("https://lab.example/mrv/?id=MRV-1#rpc=http://elsewhere.example/")).toBe("https://lab.example/mrv/api/v1/");
  expect(apiBeside("http://u:p@lab.example/index.html")).toBe("http://lab.example/api/v1/");
  expect(apiBeside("http://lab.example//elsewhere.example/x")).toBe("http://lab.example//elsewhere.example/api/v1/");
  for (const address of ["file:///tmp/index.html", "about:srcdoc", "data:text/html,x", "blob:http://lab.example/1"]) expect(apiBeside(address)).toBe(null);
});

describe("lists", () => {
  test("are read field by field", async () => {
    expect(await listed(() => json({ items: [RECORD], next: "7" }))).toEqual({ items: [RECORD], next: "7" });
    const [server, asked] = answering({ bundles: () => json({ items: [BUNDLE], next: null }) });
    expect(await server.bundles({ query: "a&b=\u00e9", cursor: "7" }, never)).toEqual({ items: [BUNDLE], next: null });
    expect(asked[0]!.url).toBe(`${BASE}bundles?limit=20&q=a%26b%3D%C3%A9&cursor=7`);
    expect(asked[0]!.init).toMatchObject({ mode: "same-origin", redirect: "manual", headers: {} });
  });

  const wrong: Record<string, unknown> = {
    mrv_id: "a b", hash: "AB".repeat(32), schema_version: 1, experiment_name: "x".repeat(1001), model_name: null, dataset_name: ["d"],
    status: "running", ended_at: "2026-02-30T08:00:00Z", energy_uwh: -1, co2e_mg: 0.5, submitted_at: 1, networks: "ethereum",
    has_samples: "yes",
  };
  test.each(Object.keys(RECORD))("a wrong or missing %s is refused", async (name) => {
    const missing = Object.fromEntries(Object.entries(RECORD).filter(([each]) => each !== name));
    for (const item of [{ ...RECORD, [name]: wrong[name] }, missing]) {
      const error = await failed(listed(() => json({ items: [item], next: null })));
      expect([kindOf(error), error!.message]).toEqual([Wrong, expect.stringContaining(name)]);
    }
  });

  test.each([
    "[]", "{}", "", "null", '{"items":[],"next":7}', '{"items":{},"next":null}', '{"items":[],"next":null,"more":1}', '{"items":[],"items":[],"next":null}',
    `{"items":[${Array(21).fill(JSON.stringify(RECORD)).join(",")}],"next":null}`, '{"items":[],"next":null}\n\u00a0', "[".repeat(10_000),
  ])("%.40s is no list", async (answer) => {
    expect(kindOf(await failed(listed(() => json(answer))))).toBe(Wrong);
  });
});

describe("who answers", () => {
  test.each([() => page(), () => page(404), () => page(401), () => json({ detail: "Not Found" }, { status: 404 }), () => Response.error()])(
    "a plain web server is no registry", async (answer) => {
      expect(kindOf(await failed(listed(answer)))).toBe(NoRegistry);
    },
  );

  test("one that was a registry, and answers with something else, is wrong", async () => {
    const answers = [() => json({ items: [], next: null }), () => page()];
    const [server] = answering({ records: () => answers.shift()!() });
    await server.records(ALL, never);
    expect(kindOf(await failed(server.records(ALL, never)))).toBe(Wrong);
  });

  test.each([
    [() => problem(429, { "retry-after": "17" }), CannotCheck, "too often: its detail; try again in 17 s"],
    [() => problem(429, { "retry-after": "Fri, 01 Jan 2027 00:00:00 GMT" }), CannotCheck, "try again later"],
    [() => problem(503), CannotCheck, "cannot answer now: its detail; try again later"],
    [() => page(502), CannotCheck, "failed, with status 502"],
    [() => problem(422), CannotCheck, "refuses the question, with status 422: its detail"],
    [() => problem(401), TokenNeeded, "is private"],
    [() => problem(403), TokenNeeded, "scope read"],
    [() => problem(404), NotHere, "keeps no copy"],
    [() => json("x".repeat(5_000_000)), Wrong, "more than the 4194304 bytes"],
  ] as const)("%s", async (answer, kind, words) => {
    const error = await failed(listed(answer));
    expect([kindOf(error), error!.message]).toEqual([kind, expect.stringContaining(words)]);
  });

  test("nobody", async () => {
    expect((await failed(answering({})[0].records(ALL, never)))!.message).toContain("does not answer");
  });

  test("a server that falls silent is not waited for", async () => {
    vi.useFakeTimers();
    try {
      vi.stubGlobal("fetch", (_: string, { signal }: RequestInit) => new Promise((_, reject) => signal!.addEventListener("abort", () => reject(new Error("aborted")))));
      const asking = failed(new Server(BASE).records(ALL, never));
      await vi.advanceTimersByTimeAsync(20_000);
      expect(kindOf(await asking)).toBe(CannotCheck);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("tokens", () => {
  const authorization = ({ init }: { init: RequestInit }) => (init.headers as Record<string, string>).authorization;

  test("are shown from then on, and forgotten once they are refused", async () => {
    const [server, asked] = answering({ records: () => problem(401) });
    await failed(server.records(ALL, never));
    server.useToken("mrv_x");
    expect((await failed(server.records(ALL, never)))!.message).toContain("does not take that token");
    await failed(server.records(ALL, never));
    expect(asked.map(authorization)).toEqual([undefined, "Bearer mrv_x", undefined]);
  });

  test.each(["", "a b", "a\nb", "\u00e9"])("%j is none", (token) => {
    expect(() => new Server(BASE).useToken(token)).toThrow(Usage);
  });
});

describe("files", () => {
  const stored = (text: string) => () => new Response(text, { headers: { "content-type": "application/json" } });
  const place = `records/${ID}`;

  test("of a record come with their kinds", async () => {
    const [server] = answering({
      [place]: () => json(RECORD), [`${place}/content`]: stored(`{"mrv_id":"${ID}"}`), [`${place}/receipts`]: stored("not JSON"),
      [`${place}/samples`]: stored("end_ms,"),
    });
    const found = await server.fetchRecord(ID, never);
    expect([...found].map(([kind, { name, bytes }]) => [kind, name, bytes.length])).toEqual([
      ["record", "MRV-1.json", 18], ["receipts", "MRV-1.receipts.json", 8], ["samples", "MRV-1.samples.csv", 7],
    ]);
  });

  test.each([
    ["entry", { ...RECORD, mrv_id: "MRV-2" }, "{}", "{}"], ["record", RECORD, '{"mrv_id":"MRV-2"}', "{}"], ["record", RECORD, '{"mrv_id":2}', "{}"],
    ["receipts", RECORD, "{}", '{"mrv_id":"MRV-2"}'],
  ])("another %s than that asked for is refused", async (what, row, content, receipts) => {
    const [server] = answering({ [place]: () => json(row), [`${place}/content`]: stored(content), [`${place}/receipts`]: stored(receipts) });
    const error = await failed(server.fetchRecord(ID, never));
    expect([kindOf(error), error!.message]).toEqual([NotAskedFor, expect.stringContaining(what)]);
  });

  test("a bundle is the one of its name", async () => {
    const name = hex(sha256(utf8("{}")));
    const [server] = answering({ [`bundles/${name}/content`]: stored("{}"), [`bundles/${BUNDLE.hash}/content`]: stored("{}") });
    expect((await server.fetchBundle(name, never)).get("bundle")!.bytes).toEqual(new Uint8Array(utf8("{}")));
    const error = await failed(server.fetchBundle(BUNDLE.hash, never));
    expect([kindOf(error), error!.message]).toEqual([NotAskedFor, expect.stringContaining(name)]);
  });

  test.each(["record", "receipts", "samples", "bundle"] as const)("%s that are too long are not read to their end", async (kind) => {
    let sent = 0;
    const part = new Uint8Array(1024 * 1024);
    const endless = () => new Response(new ReadableStream({ pull: (to) => (sent++, to.enqueue(part)) }), { headers: { "content-type": "application/json" } });
    const [server] = answering({
      [place]: () => json(RECORD), [`bundles/${BUNDLE.hash}/content`]: endless,
      [`${place}/content`]: kind === "record" ? endless : stored("{}"), [`${place}/receipts`]: kind === "receipts" ? endless : stored("{}"),
      [`${place}/samples`]: endless,
    });
    const error = await failed(kind === "bundle" ? server.fetchBundle(BUNDLE.hash, never) : server.fetchRecord(ID, never));
    expect([kindOf(error), error!.message]).toEqual([Wrong, expect.stringContaining(`more than the ${MAX_BYTES[kind]} bytes`)]);
    expect(sent).toBeLessThanOrEqual(MAX_BYTES[kind] / part.length + 3);
  });

  test("ids that would lead elsewhere are not asked for", async () => {
    const [server, asked] = answering({});
    for (const id of [".", "..", "a/b", "../bundles"]) expect(kindOf(await failed(server.fetchRecord(id, never)))).toBe(NotHere);
    for (const id of ["", "a b", "x".repeat(129)]) expect(kindOf(await failed(server.fetchRecord(id, never)))).toBe(Usage);
    expect(asked).toEqual([]);
    await failed(server.fetchRecord("a?b#c%2f", never));
    expect(asked[0]!.url).toBe(`${BASE}records/a%3Fb%23c%252f`);
  });
});
