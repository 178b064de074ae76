// A real OIDC provider for tests. Everything is made at start; nothing is kept.
// Configured by one JSON object in the environment variable CONFIG:
//   port, audience, lifetime (seconds),
//   clients: { id: { secret, claims } }, users: { sub: claims }
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Provider, errors } from 'oidc-provider';
import { createLocalJWKSet, jwtVerify } from 'jose';

const { port, audience, lifetime, clients, users } = JSON.parse(process.env.CONFIG);
const issuer = `http://127.0.0.1:${port}`;
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const scopes = 'db:read db:write';

const key = (alg, type, options) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
  alg, use: 'sig', kid: `${alg}-${randomUUID()}`,
});
const keys = [
  key('RS256', 'rsa', { modulusLength: 2048 }),
  key('ES256', 'ec', { namedCurve: 'P-256' }),
];
const publicOnly = ({ d, p, q, dp, dq, qi, ...rest }) => rest;
const ours = createLocalJWKSet({ keys: keys.map(publicOnly) });

const provider = new Provider(issuer, {
  jwks: { keys },
  clients: [
    ...Object.entries(clients).map(([client_id, c]) => ({
      client_id, client_secret: c.secret, redirect_uris: [], response_types: [],
      grant_types: ['client_credentials', EXCHANGE],
    })),
    // The command-line helper: a public client that only knows the device flow.
    { client_id: 'cli', token_endpoint_auth_method: 'none', application_type: 'native',
      grant_types: [DEVICE, 'refresh_token'], redirect_uris: [], response_types: [] },
    // For browsers: authorization code with PKCE. Where it may lead is told at /testbed/redirect.
    { client_id: 'web', client_secret: 'secret-of-web', grant_types: ['authorization_code'],
      response_types: ['code'], redirect_uris: ['https://nowhere.invalid/'] },
  ],
  scopes: ['openid', 'offline_access', ...scopes.split(' ')],
  claims: { openid: ['sub'], profile: ['groups', 'email'] },
  findAccount: (_, sub) => users[sub] && { accountId: sub, claims: () => ({ sub, ...users[sub] }) },
  extraTokenClaims: (ctx, token) => (token.kind === 'ClientCredentials'
    ? clients[token.clientId]?.claims
    : { ...users[token.accountId], ...ctx.state?.delegation }),
  ttl: { AccessToken: lifetime, ClientCredentials: lifetime, IdToken: lifetime, DeviceCode: 600 },
  cookies: { keys: [randomUUID()] },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: scopes, audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: lifetime,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

const redirects = new Set();
const { redirectUriAllowed } = provider.Client.prototype;
provider.Client.prototype.redirectUriAllowed = function allowed(uri) {
  return (this.clientId === 'web' && redirects.has(uri)) || redirectUriAllowed.call(this, uri);
};

const verified = async (token, role) => {
  const wanted = { issuer, audience, typ: 'at+jwt' };
  return (await jwtVerify(token ?? '', ours, wanted).catch(() => {
    throw new errors.InvalidGrant(`${role}_token is not one of ours`);
  })).payload;
};

// RFC 8693: the subject's token and the actor's become one token of the
// subject's that names the actor in `act`, with earlier actors inside it.
provider.registerGrantType(EXCHANGE, async (ctx) => {
  const { params, client } = ctx.oidc;
  const subject = await verified(params.subject_token, 'subject');
  const actor = await verified(params.actor_token, 'actor');
  const act = { iss: issuer, sub: actor.sub, ...(subject.act && { act: subject.act }) };
  ctx.state.delegation = { act };
  const token = new provider.AccessToken({ accountId: subject.sub, client, gty: 'token_exchange' });
  token.resourceServer = new provider.ResourceServer(audience, {
    scope: scopes, accessTokenFormat: 'jwt', accessTokenTTL: lifetime, jwt: { sign: { alg: 'RS256' } },
  });
  token.scope = params.scope ?? scopes;
  ctx.oidc.entity('AccessToken', token);
  ctx.body = {
    access_token: await token.save(), issued_token_type: ACCESS_TOKEN,
    token_type: 'Bearer', expires_in: token.expiration, scope: token.scope,
  };
}, ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'scope',
  'requested_token_type', 'audience', 'resource']);

// The person's part of the device flow, without the HTML: signing in and
// consenting. GET /testbed/approve?user_code=ABCD-EFGH&sub=alice
const approve = async (query) => {
  const code = await provider.DeviceCode.findByUserCode(
    query.get('user_code').toUpperCase().replace(/\W/g, ''));
  const grant = new provider.Grant({ accountId: query.get('sub'), clientId: code.clientId });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(audience, scopes);
  Object.assign(code, {
    accountId: query.get('sub'), grantId: await grant.save(), scope: code.params.scope,
    authTime: Math.floor(Date.now() / 1000), resource: audience, claims: {},
  });
  await code.save();
};

const answer = provider.callback();
createServer((req, res) => {
  const url = new URL(req.url, issuer);
  // Registers an address of client `web`: GET /testbed/redirect?uri=...
  if (url.pathname === '/testbed/redirect') {
    redirects.add(url.searchParams.get('uri'));
    return res.writeHead(204).end();
  }
  if (url.pathname !== '/testbed/approve') return answer(req, res);
  return approve(url.searchParams).then(
    () => res.writeHead(204).end(),
    (e) => res.writeHead(400).end(String(e)));
}).listen(port, '127.0.0.1');
