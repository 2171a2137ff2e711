// A client of the TypeScript SDK: lists the tools of a server, makes the calls
// of a plan, and prints what came back as JSON.
//
//   node client.mjs NODE_MODULES PLAN http URL
//   node client.mjs NODE_MODULES PLAN stdio CMD ARGS...
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, planFile, how, target, ...args] = process.argv.slice(2);
const sdk = (name) => import(pathToFileURL(join(modules, "@modelcontextprotocol/sdk/dist/esm/client", name)));
const { Client } = await sdk("index.js");
const { StreamableHTTPClientTransport } = await sdk("streamableHttp.js");
const { StdioClientTransport } = await sdk("stdio.js");

const transport =
  how === "http"
    ? new StreamableHTTPClientTransport(new URL(target))
    : new StdioClientTransport({ command: target, args, env: process.env, stderr: "inherit" });
const client = new Client({ name: "typescript-client", version: "1" });
await client.connect(transport);
const out = { tools: (await client.listTools()).tools.map((t) => t.name), results: [] };
for (const call of JSON.parse(readFileSync(planFile)).calls) {
  let r;
  for (let tries = 10; !r; ) {
    try {
      r = await client.callTool(call);
    } catch (e) {
      // What a busy machine recorded too late is sent again, as the error says.
      if (!--tries || !String(e).includes("send the call again")) throw e;
    }
  }
  out.results.push({
    isError: r.isError ?? false,
    text: r.content.map((c) => c.text ?? "").join(""),
    decision: r._meta?.["sallyport.dev/decision"],
  });
}
await client.close();
console.log(JSON.stringify(out));
