// An MCP host that knows nothing but a URL: it registers or describes itself,
// sends its user to sign in, and calls a tool with what it gets.
//
//	node host.mjs <node_modules> <url> <tool> <arguments>
//
// It prints lines of JSON: {"open": address} for the person's browser, then
// {"tools": [...], "text": ..., "isError": ...}, or {"error": ...}. With DOCUMENT
// in the environment it names that client metadata document instead of
// registering.
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const load = (path) => import(pathToFileURL(`${process.argv[2]}/@modelcontextprotocol/sdk/dist/esm/${path}`));
const { Client } = await load('client/index.js');
const { StreamableHTTPClientTransport } = await load('client/streamableHttp.js');
const { UnauthorizedError } = await load('client/auth.js');

const say = (v) => process.stdout.write(JSON.stringify(v) + '\n');
const [, , , url, tool, args] = process.argv;

let arrived;
const answer = new Promise((resolve) => { arrived = resolve; });
const server = http.createServer((req, res) => {
	const u = new URL(req.url, 'http://127.0.0.1');
	if (u.pathname !== '/callback') {
		res.writeHead(404).end();
		return;
	}
	res.setHeader('Content-Type', 'text/plain');
	res.end('The host has its answer.');
	arrived(u.searchParams);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const redirect = `http://127.0.0.1:${server.address().port}/callback`;

const kept = {};
const provider = {
	redirectUrl: redirect,
	clientMetadataUrl: process.env.DOCUMENT,
	clientMetadata: {
		client_name: 'Test Host', redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'],
		response_types: ['code'], token_endpoint_auth_method: 'none',
	},
	state: () => 'state-of-the-host',
	clientInformation: () => kept.client,
	saveClientInformation: (v) => { kept.client = v; },
	tokens: () => kept.tokens,
	saveTokens: (v) => { kept.tokens = v; },
	redirectToAuthorization: (u) => say({ open: u.href }),
	saveCodeVerifier: (v) => { kept.verifier = v; },
	codeVerifier: () => kept.verifier,
};

try {
	const client = new Client({ name: 'test-host', version: '1' });
	let transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
	try {
		await client.connect(transport);
	} catch (e) {
		if (!(e instanceof UnauthorizedError)) throw e;
		const q = await answer;
		if (q.get('error')) throw new Error(q.get('error'));
		if (q.get('state') !== 'state-of-the-host' || !q.get('iss')) throw new Error('the answer is not of this request');
		await transport.finishAuth(q.get('code'));
		transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
		await client.connect(transport);
	}
	const { tools } = await client.listTools();
	const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
	say({ tools: tools.map((t) => t.name), text: result.content[0].text, isError: !!result.isError, type: kept.tokens.token_type, lasts: kept.tokens.expires_in });
	await client.close();
} catch (e) {
	say({ error: String(e.message || e) });
}
server.close();
server.closeAllConnections();
