// The calls of the public API that the console makes. It makes none that changes anything.

const root = new URL('../', document.baseURI);
// The key stays in the memory of this tab: it is in no address, no cookie, and on no disk.
const KEY = 'lockstep-key';
let space = 'main';

export const setSpace = (name) => { space = name; };
export const key = () => sessionStorage.getItem(KEY) ?? '';
export const setKey = (text) => { if (text) sessionStorage.setItem(KEY, text); else sessionStorage.removeItem(KEY); };

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
    const headers = { 'Lockstep-Space': space };
    if (key()) headers.Authorization = `Bearer ${key()}`;
    response = await fetch(url, { headers, signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new CallFailed(0, 'no_answer', 'The service does not answer.');
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new CallFailed(response.status, body.code ?? 'unknown', body.detail ?? response.statusText);
  return body;
}
