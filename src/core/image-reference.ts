/** Why a text is not an image reference, in the words of the distribution project's parser. */
export type ReferenceResult = { ok: true; reference: ImageReference } | { ok: false; error: string };

export interface ImageReference {
  /** Registry host with port, `docker.io` when the text names none. */
  domain: string;
  /** Repository path, `library/` added for Docker Hub's own images. */
  path: string;
  tag: string | undefined;
  digest: string | undefined;
}

const LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const PATH = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;

/** Rules and texts: distribution/reference, normalize.go and reference.go. */
export function parseImageReference(text: string): ReferenceResult {
  if (/^[a-f0-9]{64}$/.test(text))
    return fail(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  const { domain, rest } = splitImageDomain(text);
  const name = rest.split(':')[0]?.split('@')[0] ?? '';
  if (name.toLowerCase() !== name) return fail(`invalid reference format: repository name (${name}) must be lowercase`);
  const at = rest.indexOf('@');
  const digest = at < 0 ? undefined : rest.slice(at + 1);
  const tagged = at < 0 ? rest : rest.slice(0, at);
  const colon = tagged.indexOf(':');
  const tag = colon < 0 ? undefined : tagged.slice(colon + 1);
  const path = colon < 0 ? tagged : tagged.slice(0, colon);
  const valid =
    DOMAIN.test(domain) &&
    PATH.test(path) &&
    (tag === undefined || TAG.test(tag)) &&
    (digest === undefined || DIGEST.test(digest));
  if (!valid) return fail('invalid reference format');
  if (path.length > 255) return fail('repository name must not be more than 255 characters');
  return { ok: true, reference: { domain, path, tag, digest } };
}

function fail(error: string): ReferenceResult {
  return { ok: false, error };
}

/** The registry an image comes from and what follows it, by Docker's rule: `docker.io` unless the first part is a host. */
export function splitImageDomain(text: string): { domain: string; rest: string } {
  const slash = text.indexOf('/');
  const head = slash < 0 ? '' : text.slice(0, slash);
  const isHost = /[.:]/.test(head) || head === 'localhost' || head.toLowerCase() !== head;
  if (slash >= 0 && isHost && head !== 'index.docker.io' && head !== 'docker.io')
    return { domain: head, rest: text.slice(slash + 1) };
  const rest = slash >= 0 && isHost ? text.slice(slash + 1) : text;
  return { domain: 'docker.io', rest: rest.includes('/') ? rest : `library/${rest}` };
}

/** The image as given to the runtime: `:latest` added where neither tag nor digest is named. */
export function withDefaultTag(text: string, reference: ImageReference): string {
  return reference.tag === undefined && reference.digest === undefined ? `${text}:latest` : text;
}
