// The pages of the sign-in: one form each, with the field names of the practice
// server, so that the same browser clicks through both.
const accounts = { alice: 'wonderland', bob: 'builder' };

export async function answerInteraction(provider, request, response) {
  try {
    const { uid, prompt, params, grantId, session } = await provider.interactionDetails(request, response);
    if (request.method === 'GET') return page(response, uid, prompt.name);
    const form = new URLSearchParams(await read(request));
    if (form.get('decision') === 'deny') {
      const result = { error: 'access_denied', error_description: 'the user said no' };
      return await provider.interactionFinished(request, response, result);
    }
    if (prompt.name === 'login') {
      const user = form.get('user');
      if (accounts[user] !== form.get('password')) return page(response, uid, 'login');
      return await provider.interactionFinished(request, response, { login: { accountId: user } });
    }
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
    if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
    if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
    for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
      grant.addResourceScope(resource, scopes.join(' '));
    }
    const result = { consent: { grantId: await grant.save() } };
    return await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  } catch (error) {
    response.writeHead(400, { 'content-type': 'text/plain' });
    return response.end(`${error.message}: ${error.error_description ?? ''}\n`);
  }
}

function page(response, uid, prompt) {
  const fields = prompt === 'login'
    ? '<label>User name <input name="user"></label><label>Password <input name="password" type="password"></label>'
    : '<p>Allow this app to use your account?</p>';
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  response.end(`<!doctype html><html lang="en"><title>${prompt}</title>
<form method="post" action="/interaction/${uid}">${fields}
<button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Cancel</button></form></html>`);
}

async function read(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}
