import pino from 'pino';
import { type LogFields, type Logger, redact } from '../core/index.ts';

export interface LogOptions {
  debug: boolean;
  /** `journal`: `<N>` priority prefixes, no time; `text`: time and level; `json`: pino's own lines. */
  style: 'journal' | 'text' | 'json';
  write?: (line: string) => void;
}

const PRIORITY: Readonly<Record<number, string>> = { 20: '<7>', 30: '<6>', 40: '<4>', 50: '<3>', 60: '<2>' };
const LEVEL: Readonly<Record<number, string>> = { 20: 'DEBUG', 30: 'INFO', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' };

/**
 * The process's logger: pino, synchronous to stderr, each line `message key=value …` with secrets masked. Under systemd
 * (JOURNAL_STREAM set) lines carry sd-daemon(3) priorities so that `journalctl -p warning` works.
 */
export function createLogger(options: LogOptions): Logger {
  const write = options.write ?? toStderr();
  const sink = {
    write(json: string) {
      write(redact(options.style === 'json' ? json : format(json, options.style === 'journal')));
    },
  };
  return wrap(pino({ level: options.debug ? 'debug' : 'info', base: null }, sink));
}

/** A log that can't be written (full disk, journald gone) is no reason to end: the pods are not looked after by it. */
function toStderr(): (line: string) => void {
  process.stderr.on('error', () => {});
  return (line) => void process.stderr.write(line);
}

function wrap(inner: pino.Logger): Logger {
  return {
    debug: (message, fields) => inner.debug(fields ?? {}, message),
    info: (message, fields) => inner.info(fields ?? {}, message),
    warn: (message, fields) => inner.warn(fields ?? {}, message),
    error: (message, fields) => inner.error(fields ?? {}, message),
    child: (fields: LogFields) => wrap(inner.child(fields)),
  };
}

function format(json: string, journal: boolean): string {
  const { level, time, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const head = journal
    ? (PRIORITY[level as number] ?? '<6>')
    : `${new Date(time as number).toISOString()} ${(LEVEL[level as number] ?? 'INFO').padEnd(5)} `;
  const tail = Object.entries(fields).map(([key, value]) => ` ${key}=${render(value)}`);
  return `${head}${String(msg)}${tail.join('')}\n`.replace(/\n(?=.)/g, ' | ');
}

function render(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
  return typeof value === 'string' && !/^[\w./:@%+-]+$/.test(text) ? JSON.stringify(text) : text;
}
