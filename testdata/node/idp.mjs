// An OpenID provider for tests, on a loopback port of its own choice:
//
//	node idp.mjs <node_modules>
//
// It prints one line of JSON, {"issuer": ..., "admin": ...}, and ends with its
// standard input. POST to the admin address registers a client or an account,
// or trusts another issuer's word about users. Access tokens for resources at
// opaque.test.example are opaque, for others JWTs; those of short.* live 2 s.
// Its login page asks for a user name and nothing else; consent is given.
import http from 'node:http';
import { randomBytes } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const load = (path) => import(pathToFileURL(`${process.argv[2]}/${path}`));
const { Provider } = await load('oidc-provider/lib/index.js');
const { default: validateDpop } = await load('oidc-provider/lib/helpers/validate_dpop.js');
const jose = await load('jose/dist/webapi/index.js');

const key = async (alg) => {
	const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
	const jwk = await jose.exportJWK(privateKey);
	return { ...jwk, alg, use: 'sig', kid: await jose.calculateJwkThumbprint(jwk) };
};
const keys = [await key('ES256'), await key('RS256')];

const accounts = new Map([
	['dana', { email: 'dana@test.example', email_verified: true, name: 'Dana', groups: ['support', 'admin'] }],
	['sam', { email: 'sam@test.example', email_verified: true, name: 'Sam', groups: ['support'] }],
]);

const server = http.createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const admin = `/admin/${randomBytes(16).toString('hex')}`;

const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const bearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const accessToken = 'urn:ietf:params:oauth:token-type:access_token';
const idJag = 'urn:ietf:params:oauth:token-type:id-jag';

const resourceServer = (resource) => {
	const { hostname } = new URL(resource);
	const info = { scope: 'tools read write', audience: resource, accessTokenTTL: hostname.startsWith('short.') ? 2 : 300 };
	if (hostname.endsWith('opaque.test.example')) return { ...info, accessTokenFormat: 'opaque' };
	return { ...info, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
};

// Other issuers that are believed about users, and their keys.
const trusted = new Map();

const provider = new Provider(issuer, {
	jwks: { keys },
	cookies: { keys: [randomBytes(32).toString('hex')] },
	clientDefaults: { id_token_signed_response_alg: 'ES256', grant_types: ['authorization_code'], response_types: ['code'] },
	enabledJWA: {
		idTokenSigningAlgValues: ['ES256', 'RS256'],
		clientAuthSigningAlgValues: ['ES256', 'EdDSA', 'RS256', 'PS256'],
		dPoPSigningAlgValues: ['ES256', 'EdDSA'],
	},
	conformIdTokenClaims: false, // claims of the scopes stand in the ID token
	scopes: ['openid', 'offline_access', 'email', 'profile', 'groups', 'tools', 'read', 'write'],
	claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'], groups: ['groups'] },
	findAccount: (ctx, sub) => accounts.has(sub) ? { accountId: sub, claims: async () => ({ sub, ...accounts.get(sub) }) } : undefined,
	extraTokenClaims: (ctx, token) => {
		const { email, email_verified, groups } = accounts.get(token.accountId) || {};
		return token.accountId ? { email, email_verified, groups } : { environment: 'test' };
	},
	loadExistingGrant: async (ctx) => {
		const { client, session, params } = ctx.oidc;
		const known = session.grantIdFor(client.clientId);
		let grant = known && await ctx.oidc.provider.Grant.find(known);
		grant ||= new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
		grant.addOIDCScope('openid offline_access email profile groups tools read write');
		for (const r of [params.resource].flat().filter(Boolean)) grant.addResourceScope(r, 'tools read write');
		await grant.save();
		return grant;
	},
	rotateRefreshToken: true,
	interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
	features: {
		devInteractions: { enabled: false },
		clientCredentials: { enabled: true },
		deviceFlow: { enabled: true },
		dPoP: { enabled: true },
		introspection: { enabled: true },
		revocation: {
			enabled: true,
			// The provider takes back all that came from one grant with one token
			// of it. For clients named so, it takes back the token alone.
			allowedPolicy: async (ctx, client, token) => {
				if (client.clientId !== token.clientId) return false;
				if (!client.clientId.endsWith('-single') || token.kind !== 'AccessToken') return true;
				await token.destroy();
				return false;
			},
		},
		pushedAuthorizationRequests: { enabled: true },
		resourceIndicators: {
			enabled: true,
			defaultResource: () => undefined,
			useGrantedResource: () => true,
			getResourceServerInfo: (ctx, resource) => resourceServer(resource),
		},
	},
});

// An access token for the user that a trusted issuer's assertion names, which
// counts once.
const onBehalf = async (ctx, assertion, gty) => {
	const { client, params } = ctx.oidc;
	const { iss } = jose.decodeJwt(assertion || '');
	if (!trusted.has(iss)) throw new Error('the issuer is not trusted');
	const { payload } = await jose.jwtVerify(assertion, jose.createLocalJWKSet(trusted.get(iss)), { issuer: iss, audience: issuer, requiredClaims: ['sub', 'exp', 'jti'] });
	if (!await provider.ReplayDetection.unique(iss, payload.jti, payload.exp)) throw new Error('the assertion was used');
	if (!payload.act?.sub) throw new Error('nobody acts');
	const dPoP = await validateDpop(provider, ctx);
	const grant = new provider.Grant({ clientId: client.clientId, accountId: payload.sub });
	const token = new provider.AccessToken({ client, accountId: payload.sub, grantId: await grant.save(), gty });
	const rs = new provider.ResourceServer(params.resource, resourceServer(params.resource));
	token.resourceServer = rs;
	token.scope = (params.scope || '').split(' ').filter((s) => rs.scopes.has(s)).join(' ') || undefined;
	if (dPoP) token.setThumbprint('jkt', dPoP.thumbprint);
	ctx.body = { access_token: await token.save(), token_type: token.tokenType, expires_in: token.expiration, scope: token.scope };
};

const refusing = (handler) => async (ctx) => {
	try {
		await handler(ctx);
	} catch (e) {
		ctx.status = 400;
		ctx.body = { error: 'invalid_grant', error_description: e.message };
	}
};

// RFC 7523.
provider.registerGrantType(bearer, refusing((ctx) => onBehalf(ctx, ctx.oidc.params.assertion, 'jwt_bearer')), ['assertion', 'resource', 'scope']);

// RFC 8693, to an access token, or from an ID token of the client to an identity assertion grant
// (draft-ietf-oauth-identity-assertion-authz-grant).
provider.registerGrantType(exchange, refusing(async (ctx) => {
	const { client, params } = ctx.oidc;
	if (params.requested_token_type === accessToken) {
		await onBehalf(ctx, params.subject_token, 'token_exchange');
		ctx.body.issued_token_type = accessToken;
		return;
	}
	const es256 = keys[0];
	const { d, ...es256public } = es256;
	const { payload } = await jose.jwtVerify(params.subject_token || '', await jose.importJWK(es256public, 'ES256'), { issuer, audience: client.clientId });
	if (params.requested_token_type !== idJag || !params.audience) throw new Error('this exchange makes identity assertion grants alone');
	const now = Math.floor(Date.now() / 1000);
	ctx.body = {
		access_token: await new jose.SignJWT({
			iss: issuer, sub: payload.sub, aud: params.audience, client_id: params.client_at_audience || client.clientId,
			jti: randomBytes(16).toString('hex'), iat: now, exp: now + 300, auth_time: payload.auth_time || now,
			resource: params.resource, scope: params.scope, email: payload.email, email_verified: payload.email_verified, groups: payload.groups,
		}).setProtectedHeader({ alg: 'ES256', kid: es256.kid, typ: 'oauth-id-jag+jwt' }).sign(await jose.importJWK(es256, 'ES256')),
		issued_token_type: idJag, token_type: 'N_A', expires_in: 300, scope: params.scope,
	};
}), ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope', 'client_at_audience']);

const read = async (req) => {
	let text = '';
	for await (const chunk of req) text += chunk;
	return text;
};

const interaction = async (req, res) => {
	const { prompt, session } = await provider.interactionDetails(req, res);
	if (prompt.name !== 'login') {
		return provider.interactionFinished(req, res, { [prompt.name]: {} }, { mergeWithLastSubmission: true });
	}
	const form = new URLSearchParams(req.method === 'POST' ? await read(req) : '');
	if (form.has('cancel')) {
		return provider.interactionFinished(req, res, { error: 'access_denied', error_description: 'the user said no' });
	}
	if (accounts.has(form.get('user'))) {
		return provider.interactionFinished(req, res, { login: { accountId: form.get('user') } });
	}
	res.setHeader('Content-Type', 'text/html; charset=utf-8');
	res.end(`<!doctype html><html lang="en"><title>Test provider</title><h1>Test provider</h1>
<p>It knows its users by name alone: dana, sam.</p>
<form method="post"><label>User <input name="user" id="user" autofocus></label>
<button id="sign-in">Sign in</button> <button id="cancel" name="cancel" value="1">Cancel</button></form></html>`);
};

const administer = async (req, res) => {
	const { client, account, claims, trust, jwks } = JSON.parse(await read(req));
	if (client) await provider.Client.adapter.upsert(client.client_id, client);
	if (trust) trusted.set(trust, jwks);
	if (account) claims ? accounts.set(account, claims) : accounts.delete(account);
	res.end();
};

const serve = provider.callback();
server.on('request', async (req, res) => {
	try {
		if (req.url.startsWith('/interaction/')) await interaction(req, res);
		else if (req.url === admin) await administer(req, res);
		else serve(req, res);
	} catch (e) {
		res.statusCode = 500;
		res.end(`${e.name}: ${e.message} ${e.error_description || ''}`);
	}
});
provider.on('server_error', (ctx, e) => console.error(e));
process.stdin.resume().on('end', () => process.exit(0));
console.log(JSON.stringify({ issuer, admin: issuer + admin }));
