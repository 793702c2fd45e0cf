/** Facts beside a log message; values must be small and free of secrets. */
export type LogFields = Readonly<Record<string, unknown>>;

/** What the rooms write to. Messages are sentences without values; the values go into the fields. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to each line. */
  child(fields: LogFields): Logger;
}

/** Drops everything; for tests and for callers without a logger. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};

/**
 * Says a recurring fact once: a line is let through only when its text for that key changed, so that a retry loop on a
 * board without a server writes one line a cause instead of one a try. `clear` forgets the key (the fault is over).
 */
export function sayOnce(): { changed(key: string, text: string): boolean; clear(key: string): boolean } {
  const last = new Map<string, string>();
  return {
    changed(key, text) {
      if (last.get(key) === text) return false;
      last.set(key, text);
      if (last.size > 1000) last.delete(last.keys().next().value as string);
      return true;
    },
    clear: (key) => last.delete(key),
  };
}
