import { HttpFailure } from '../reply.ts';

export interface LogOptions {
  follow: boolean;
  previous: boolean;
  timestamps: boolean;
  /** Lines from the end; undefined = all. */
  tailLines?: number;
  /** Lines older than this many milliseconds since the epoch are left out. */
  sinceMs?: number;
  /** Bytes of the answer, timestamps included. */
  limitBytes?: number;
  stream: 'All' | 'Stdout' | 'Stderr';
}

const UNDECODABLE = '{"message": "Unable to decode query."}';
const INVALID = '{"message": "Invalid request."}';

/**
 * The query of /containerLogs: v1.PodLogOptions (upstream: ValidatePodLogOptions). Throws HttpFailure 400 for a value
 * that is none, 422 for one that makes no sense.
 */
export function logOptions(query: URLSearchParams, now: number): LogOptions {
  const tail = query.get('tail');
  const tailLines = tail ? (tail === 'all' ? undefined : integer(tail)) : integer(query.get('tailLines'));
  const limitBytes = integer(query.get('limitBytes'));
  const sinceSeconds = integer(query.get('sinceSeconds'));
  const sinceTime = time(query.get('sinceTime'));
  const stream = query.get('stream') || 'All';

  const wrong =
    (tailLines !== undefined && tailLines < 0) ||
    (limitBytes !== undefined && limitBytes < 1) ||
    (sinceSeconds !== undefined && (sinceSeconds < 1 || sinceTime !== undefined)) ||
    !isStream(stream) ||
    (stream !== 'All' && tailLines !== undefined);
  if (wrong) throw new HttpFailure(422, INVALID);

  const sinceMs = sinceSeconds !== undefined ? now - sinceSeconds * 1000 : sinceTime;
  return {
    follow: flag(query.get('follow')),
    previous: flag(query.get('previous')),
    timestamps: flag(query.get('timestamps')),
    stream: stream as LogOptions['stream'],
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceMs === undefined ? {} : { sinceMs }),
  };
}

function isStream(text: string): text is LogOptions['stream'] {
  return text === 'All' || text === 'Stdout' || text === 'Stderr';
}

/** A query flag that is there is true, whatever it says, except for `false` and `0` (apimachinery conversion). */
function flag(text: string | null): boolean {
  return text !== null && text.toLowerCase() !== 'false' && text !== '0';
}

function integer(text: string | null): number | undefined {
  if (text === null) return undefined;
  if (!/^[+-]?\d{1,18}$/.test(text)) throw new HttpFailure(400, UNDECODABLE);
  return Number(text);
}

function time(text: string | null): number | undefined {
  if (text === null || text === '') return undefined;
  const ms = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (!Number.isFinite(ms)) throw new HttpFailure(400, UNDECODABLE);
  return ms;
}
