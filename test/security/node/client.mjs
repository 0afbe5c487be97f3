// client.mjs drives the provider with openid-client, which is strict about the standards. It reads what to do from its arguments
// and prints what it got as JSON.
import * as oidc from 'openid-client'

const [issuer, id, secret, service, serviceSecret, redirect] = process.argv.slice(2)
const insecure = { execute: [oidc.allowInsecureRequests] }
const config = await oidc.discovery(new URL(issuer), id, undefined, oidc.ClientSecretBasic(secret), insecure)
const out = {}

// Form fields of a page, and the browser's one cookie.
let cookie = ''
async function visit(url, form) {
  const r = await fetch(url, {
    redirect: 'manual', method: form ? 'POST' : 'GET',
    headers: { cookie, ...(form && { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin' }) },
    body: form && new URLSearchParams(form),
  })
  const set = r.headers.get('set-cookie')
  if (set) cookie = set.split(';')[0]
  return r
}
const hidden = (html) => Object.fromEntries([...html.matchAll(/name="(request|csrf)" value="([^"]*)"/g)].map((m) => [m[1], m[2]]))

export async function authorize(scope) {
  const verifier = oidc.randomPKCECodeVerifier()
  const state = oidc.randomState()
  const nonce = oidc.randomNonce()
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: redirect, scope, state, nonce, code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  })
  let r = await visit(url)
  const login = new URL(r.headers.get('location'), issuer)
  const page = await (await visit(login)).text()
  r = await visit(new URL('/oauth2/login', issuer), { ...hidden(page), email: process.env.EMAIL, password: process.env.PASSWORD })
  if (r.status !== 303) throw new Error('log-in: ' + r.status + ' ' + (await r.text()))
  const consent = await (await visit(new URL(r.headers.get('location'), issuer))).text()
  r = await visit(new URL('/oauth2/consent', issuer), { ...hidden(consent), decision: 'allow' })
  if (r.status !== 303) throw new Error('consent: ' + r.status + ' ' + (await r.text()))
  return { callback: new URL(r.headers.get('location')), checks: { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true } }
}

const refused = async (promise) => {
  try {
    await promise
  } catch (e) {
    return e.error ?? e.code ?? String(e)
  }
  return 'accepted'
}

const first = await authorize('openid profile email offline_access order')
const tokens = await oidc.authorizationCodeGrant(config, first.callback, first.checks)
out.access = tokens.access_token
out.claims = tokens.claims()
out.userinfo = await oidc.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
out.introspection = await oidc.tokenIntrospection(config, tokens.access_token)

const renewed = await oidc.refreshTokenGrant(config, tokens.refresh_token)
out.renewed = renewed.access_token
const exchangeParameters = { subject_token: renewed.access_token, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', scope: 'order' }
const exchanger = await oidc.discovery(new URL(issuer), service, undefined, oidc.ClientSecretPost(serviceSecret), insecure)
out.exchanged = (await oidc.genericGrantRequest(exchanger, 'urn:ietf:params:oauth:grant-type:token-exchange', exchangeParameters)).access_token
out.widened = await refused(oidc.genericGrantRequest(exchanger, 'urn:ietf:params:oauth:grant-type:token-exchange', { ...exchangeParameters, scope: 'user' }))
out.service = (await oidc.clientCredentialsGrant(exchanger, { scope: 'order' })).access_token
out.codeReplayed = await refused(oidc.authorizationCodeGrant(config, first.callback, first.checks))
out.afterReplay = await refused(oidc.refreshTokenGrant(config, renewed.refresh_token))

const second = await authorize('openid offline_access')
const other = await oidc.authorizationCodeGrant(config, second.callback, second.checks)
await oidc.tokenRevocation(config, other.refresh_token)
out.afterRevocation = await refused(oidc.refreshTokenGrant(config, other.refresh_token))

const third = await authorize('openid offline_access')
const last = await oidc.authorizationCodeGrant(config, third.callback, third.checks)
const end = oidc.buildEndSessionUrl(config, { id_token_hint: last.id_token, post_logout_redirect_uri: redirect, state: 'bye' })
out.loggedOut = (await visit(end)).headers.get('location')
out.afterLogOut = await refused(oidc.refreshTokenGrant(config, last.refresh_token))

const wrong = await authorize('openid')
out.wrongVerifier = await refused(oidc.authorizationCodeGrant(config, wrong.callback, { ...wrong.checks, pkceCodeVerifier: oidc.randomPKCECodeVerifier() }))
out.password = await refused(oidc.genericGrantRequest(config, 'password', { username: process.env.EMAIL, password: process.env.PASSWORD }))
console.log(JSON.stringify(out))
