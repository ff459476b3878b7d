// The calls of the public API that the console makes. It makes none that changes anything.

const root = new URL('../', document.baseURI);
let space = 'main';

export const setSpace = (name) => { space = name; };

/** A problem that the service has answered, or a sentence about why there is no answer. */
export class CallFailed extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Reads a path of the API and returns its JSON. `query` has the parameters; those that are empty are left out. */
export async function get(path, query = {}) {
  const url = new URL(path, root);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  }
  let response;
  try {
    response = await fetch(url, { headers: { 'Lockstep-Space': space }, signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new CallFailed(0, 'no_answer', 'The service does not answer.');
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new CallFailed(response.status, body.code ?? 'unknown', body.detail ?? response.statusText);
  return body;
}
