// provider.mjs is an issuer that is not ours: oidc-provider, with tokens that openid-client gets from it. It listens on the port that
// it is given, prints a line of JSON, and once more with other keys for each line that it reads. It ends with its input.
import { createServer } from 'node:http'
import { createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import Provider from 'oidc-provider'
import * as oidc from 'openid-client'

const [port, audience] = process.argv.slice(2)
const issuer = `http://127.0.0.1:${port}`
const redirect = 'http://127.0.0.1:8123/callback'
const secret = randomUUID()

function provider() {
  const kid = randomUUID()
  // By way of PEM: exporting the key object itself can hang Node 20, when the garbage collector runs meanwhile and frees the
  // generation, which waits for a lock that the export holds.
  const key = (type, options) => createPrivateKey(generateKeyPairSync(type, {
    ...options, privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' },
  }).privateKey).export({ format: 'jwk' })
  return new Provider(issuer, {
    jwks: { keys: [
      { ...key('rsa', { modulusLength: 2048 }), kid, use: 'sig', alg: 'RS256' },
      { ...key('ec', { namedCurve: 'P-256' }), kid: kid + 'e', use: 'sig', alg: 'ES256' },
    ] },
    clients: [
      { client_id: 'robot', client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
      { client_id: 'web', client_secret: secret, grant_types: ['authorization_code'], redirect_uris: [redirect], response_types: ['code'], application_type: 'native' },
    ],
    features: {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: 'read', audience: resource, accessTokenTTL: 600, accessTokenFormat: 'jwt',
          jwt: { sign: { alg: resource.endsWith('/es256') ? 'ES256' : 'RS256' } },
        }),
      },
    },
    extraTokenClaims: (ctx, token) => ({ realm_access: { roles: [token.kind === 'ClientCredentials' ? 'robot' : 'person'] } }),
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    cookies: { keys: [randomUUID()] },
  })
}

const server = createServer()
async function serve() {
  server.removeAllListeners('request')
  server.on('request', provider().callback())
}

// Cookies of a browser, whose path does not matter here.
const jar = new Map()
async function visit(url, form) {
  const r = await fetch(url, {
    redirect: 'manual', method: form ? 'POST' : 'GET', body: form && new URLSearchParams(form),
    headers: { cookie: [...jar].map(([k, v]) => `${k}=${v}`).join('; ') },
  })
  for (const c of r.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(c)
    if (value) jar.set(name, value)
    else jar.delete(name)
  }
  const next = r.headers.get('location')
  return { next: next && new URL(next, url), text: await r.text(), status: r.status }
}

async function person(client) {
  const verifier = oidc.randomPKCECodeVerifier()
  let r = await visit(oidc.buildAuthorizationUrl(client, {
    redirect_uri: redirect, scope: 'openid read', resource: audience, code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }))
  for (let steps = 0; !r.next?.href.startsWith(redirect); steps++) {
    if (steps > 20) throw new Error('no code: ' + r.status + ' ' + r.text)
    if (r.next) {
      const page = await visit(r.next)
      r = page.next ? page : { ...page, at: r.next }
      continue
    }
    const prompt = /name="prompt" value="([^"]*)"/.exec(r.text)[1]
    r = await visit(r.at, prompt === 'login' ? { prompt, login: 'ada', password: 'x' } : { prompt })
  }
  return oidc.authorizationCodeGrant(client, r.next, { pkceCodeVerifier: verifier, idTokenExpected: true }, { resource: audience })
}

async function tokens() {
  await serve()
  jar.clear()
  const insecure = { execute: [oidc.allowInsecureRequests] }
  const web = await oidc.discovery(new URL(issuer), 'web', undefined, oidc.ClientSecretBasic(secret), insecure)
  const robot = await oidc.discovery(new URL(issuer), 'robot', undefined, oidc.ClientSecretBasic(secret), insecure)
  const machine = async (resource) => (await oidc.clientCredentialsGrant(robot, resource ? { scope: 'read', resource } : {})).access_token
  const grant = await person(web)
  console.log(JSON.stringify({
    person: grant.access_token, idToken: grant.id_token, robot: await machine(audience), elsewhere: await machine('https://other.example'),
    opaque: await machine(), otherAlgorithm: await machine(audience + '/es256'),
  }))
}

server.listen(Number(port), '127.0.0.1', tokens)
const lines = createInterface({ input: process.stdin })
lines.on('line', tokens)
lines.on('close', () => process.exit(0))
process.on('unhandledRejection', (e) => { console.error(e); process.exit(1) })
