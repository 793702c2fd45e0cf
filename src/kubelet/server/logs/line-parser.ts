/**
 * CRI log lines: `2016-10-06T00:17:09.669794202Z stdout F text`, tag P for a piece of a longer line that goes on in the
 * next entry. The files are written by containerd, but power cuts leave runs of NUL bytes and torn lines in them, and
 * whatever the container printed is in there too: any byte sequence must come through without an error and without
 * memory growing with it. So nothing waits for a line's end: text is passed on as it comes, only the short head of an
 * entry is collected.
 */

const LF = 10;
const SPACE = 32;
/** Longest head of an entry: RFC 3339 with nanoseconds and offset, stream, tags. */
const MAX_HEAD = 128;

export interface LogFilter {
  timestamps: boolean;
  sinceMs?: number;
  stream: 'All' | 'Stdout' | 'Stderr';
}

interface Head {
  stdout: boolean;
  partial: boolean;
  time: string;
}

/** Where the parser is: in an entry's head, in a text to pass on, or in something to leave out. */
type State = 'head' | 'text' | 'skip';

export class LogLineParser {
  readonly #filter: LogFilter;
  #state: State = 'head';
  /** The piece of a head that came with an earlier chunk. */
  #held: Buffer = Buffer.alloc(0);
  #partial = false;
  /** The next text begins a line of its own, and gets the timestamp. */
  #lineStart = true;

  constructor(filter: LogFilter) {
    this.#filter = filter;
  }

  /** Takes the next bytes of the file and gives `emit` what to show; slices are only valid until the chunk is reused. */
  push(chunk: Buffer, emit: (text: Buffer) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#state === 'head') at = this.#takeHead(chunk, at, emit);
      else at = this.#takeText(chunk, at, emit);
    }
  }

  /** The file was replaced: what was begun will not go on. */
  reset(): void {
    this.#state = 'head';
    this.#held = Buffer.alloc(0);
  }

  #takeHead(chunk: Buffer, from: number, emit: (text: Buffer) => void): number {
    let at = from;
    if (this.#held.length === 0) while (at < chunk.length && chunk[at] === 0) at++;
    const room = MAX_HEAD - this.#held.length;
    const fresh = chunk.subarray(at, at + room);
    const seen = this.#held.length === 0 ? fresh : Buffer.concat([this.#held, fresh]);
    const length = headLength(seen);
    if (length === undefined && seen.length < MAX_HEAD) {
      this.#held = Buffer.from(seen);
      return chunk.length;
    }
    const held = this.#held.length;
    this.#held = Buffer.alloc(0);
    const head = length === undefined ? undefined : parseHead(seen.subarray(0, length));
    if (length === undefined || head === undefined) {
      // Not an entry: left out up to its end, which may already be among what was seen.
      this.#state = 'skip';
      const end = seen.indexOf(LF);
      if (end < 0) return at + fresh.length;
      this.#state = 'head';
      return at + end + 1 - held;
    }
    this.#state = this.#shown(head) ? 'text' : 'skip';
    this.#partial = head.partial;
    if (this.#state === 'text' && this.#filter.timestamps && this.#lineStart)
      emit(Buffer.from(`${fixedTime(head.time)} `, 'latin1'));
    return at + length - held;
  }

  #takeText(chunk: Buffer, at: number, emit: (text: Buffer) => void): number {
    const end = chunk.indexOf(LF, at);
    const shown = this.#state === 'text';
    if (end < 0) {
      if (shown) {
        emit(chunk.subarray(at));
        this.#lineStart = false;
      }
      return chunk.length;
    }
    if (shown) {
      const stop = this.#partial ? end : end + 1;
      if (stop > at) emit(chunk.subarray(at, stop));
      this.#lineStart = !this.#partial;
    }
    this.#state = 'head';
    return end + 1;
  }

  #shown(head: Head): boolean {
    const { stream, sinceMs } = this.#filter;
    if (stream !== 'All' && (stream === 'Stdout') !== head.stdout) return false;
    // Date.parse drops what is below a millisecond: entries of the very millisecond count as new enough.
    return sinceMs === undefined || Date.parse(head.time) >= Math.floor(sinceMs);
  }
}

/** Length of an entry's head with its three spaces, undefined while they are not all there. A line's end ends it too. */
function headLength(bytes: Buffer): number | undefined {
  let spaces = 0;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === LF) return i;
    if (bytes[i] === SPACE && ++spaces === 3) return i + 1;
  }
  return undefined;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

function parseHead(bytes: Buffer): Head | undefined {
  const [time = '', stream = '', tags = '', rest] = bytes.toString('latin1').split(' ');
  if (rest === undefined || !TIME.test(time) || Number.isNaN(Date.parse(time))) return undefined;
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  return { time, stdout: stream === 'stdout', partial: tags.split(':', 1)[0] === 'P' };
}

/** RFC 3339 with all nine digits, as the kubelet prints it, so that columns stay in line. */
function fixedTime(time: string): string {
  const zone = time.endsWith('Z') ? time.length - 1 : time.length - 6;
  const dot = time.indexOf('.');
  const seconds = dot < 0 ? time.slice(0, zone) : time.slice(0, dot);
  const fraction = dot < 0 ? '' : time.slice(dot + 1, zone);
  return `${seconds}.${fraction.padEnd(9, '0')}${time.slice(zone)}`;
}

/** The tag of the entry whose first bytes these are: is its line complete? Undefined if it is no entry. */
export function isComplete(bytes: Buffer): boolean | undefined {
  const length = headLength(bytes);
  const head = length === undefined ? undefined : parseHead(bytes.subarray(0, length));
  return head === undefined ? undefined : !head.partial;
}

export { MAX_HEAD };
