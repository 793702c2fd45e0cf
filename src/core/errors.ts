/**
 * The one error class that crosses room walls. `code` is stable and is what callers branch on; `message` is for
 * people and never holds a secret; `remedy` says what the person at the board can do about it.
 */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: string;
  readonly remedy: string | undefined;

  constructor(init: { code: string; message: string; remedy?: string; cause?: unknown }) {
    super(redact(init.message), init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.remedy = init.remedy === undefined ? undefined : redact(init.remedy);
  }
}

/** The stable code of an error: an AgentError's, a system error's (`ENOENT`), or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

/** One line for a log or a status: the message, then each cause that adds something, secrets masked. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let e: unknown = error, depth = 0; e !== undefined && e !== null && depth < 5; depth++) {
    // An AggregateError (several addresses of one name refused) has an empty message; its members tell the story.
    const text =
      e instanceof AggregateError && e.message === '' ? e.errors.map((x) => messageOf(x)).join(', ') : messageOf(e);
    if (text !== '' && !parts.some((p) => p.includes(text))) parts.push(text);
    e = (e as { cause?: unknown }).cause;
  }
  return redact(parts.join(': ') || 'unknown error');
}

function messageOf(e: unknown): string {
  if (e instanceof Error) return e.message;
  return typeof e === 'string' ? e : '';
}

/** True when the error only says that the caller's AbortSignal fired. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || errorCode(error) === 'ABORT_ERR');
}

const SECRET_PATTERNS: readonly [RegExp, string][] = [
  [/K10[0-9a-f]{64}::\S+/g, 'K10********'],
  [/\bK10\S*::\S+/g, 'K10********'],
  [/(Authorization:\s*)\S+(\s+\S+)?/gi, '$1********'],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9+/=._-]{8,}/g, '$1 ********'],
  [/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?(-----END \1-----|$)/g, '********'],
  [/\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*/g, '********'],
  [/(\/\/[^/\s:@]+:)[^@\s/]+@/g, '$1********@'],
];
const known = new Set<string>();

/** Tokens of registries change twice a day; those in use are registered again and again. */
const MAX_SECRETS = 512;

/**
 * Registers a secret value (token, password) so that {@link redact} masks it wherever it turns up. What was not
 * registered for the longest time is forgotten beyond {@link MAX_SECRETS}.
 */
export function registerSecret(value: string | undefined): void {
  if (value === undefined || value.length < 6) return;
  known.delete(value);
  known.add(value);
  if (known.size > MAX_SECRETS) known.delete(known.values().next().value as string);
}

/** Masks registered secrets, join tokens, bearer tokens, private keys and URL passwords in a text. */
export function redact(text: string): string {
  let out = text;
  for (const secret of known) if (out.includes(secret)) out = out.replaceAll(secret, '********');
  for (const [pattern, by] of SECRET_PATTERNS) out = out.replace(pattern, by);
  return out;
}
