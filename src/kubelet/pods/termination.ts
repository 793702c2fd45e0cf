import { errorCode } from '../../core/index.ts';
import { readEnd } from './files.ts';
import type { ObservedContainer } from './model.ts';

const ANNOTATION_PATH = 'io.kubernetes.container.terminationMessagePath';
const ANNOTATION_POLICY = 'io.kubernetes.container.terminationMessagePolicy';
/** Limits of upstream pkg/kubelet/container/runtime.go: 4096 bytes of message, 2048 bytes and 80 lines of log. */
const MAX_MESSAGE = 4096;
const MAX_LOG = 2048;
const MAX_LOG_LINES = 80;

/**
 * What a container left as its last words: the end of its termination log, or of its log if it failed and asked so
 * (kuberuntime_container.go, getTerminationMessage). A log that can't be read is told of, since that is what people see.
 */
export async function terminationMessage(
  container: ObservedContainer,
  mounts: readonly { containerPath: string; hostPath: string }[],
): Promise<string> {
  const path = container.annotations[ANNOTATION_PATH];
  const host = path === undefined ? undefined : mounts.find((m) => m.containerPath === path)?.hostPath;
  const written = host === undefined ? undefined : await readLog(host);
  if (written !== undefined && written !== '') return written;
  const failed = container.exitCode !== 0 && container.reason !== 'ContainerCannotRun';
  if (container.annotations[ANNOTATION_POLICY] !== 'FallbackToLogsOnError' || !failed) return '';
  return logTail(container.logPath);
}

async function readLog(path: string): Promise<string | undefined> {
  try {
    return (await readEnd(path, MAX_MESSAGE)).toString('utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    return `Error on reading termination log ${path}: ${error instanceof Error ? error.message : 'unreadable'}`;
  }
}

/** Each line of a log file carries a time and a stream name: how much to read is not known before. */
async function logTail(path: string): Promise<string> {
  try {
    for (let bytes = 4 * MAX_LOG; ; bytes *= 8) {
      const log = await readEnd(path, bytes);
      const { text, whole } = lastWords(log);
      // Empty lines are all prefix: 80 of them are far below the next size.
      if (whole || log.length < bytes || bytes > 1 << 20) return text;
    }
  } catch {
    return '';
  }
}

/**
 * The messages in CRI log lines (`TIME STREAM TAG MESSAGE`), the last ones that fit. `whole`: an earlier part of the log
 * would add nothing.
 */
export function lastWords(log: Buffer): { text: string; whole: boolean } {
  const parts: Buffer[] = [];
  let size = 0;
  let lines = 0;
  let end = log.length;
  while (end > 0 && size < MAX_LOG) {
    const start = log.lastIndexOf(10, end - 1) + 1;
    const line = log.subarray(start, end);
    end = start - 1;
    const head = /^\S+ (?:stdout|stderr) ([FP]\S*) /.exec(line.toString('latin1', 0, 120));
    if (!head) continue;
    const whole = head[1] === 'F';
    if (whole && ++lines > MAX_LOG_LINES) return { text: text(parts), whole: true };
    const message = line.subarray(head[0].length);
    parts.push(whole ? Buffer.concat([message, Buffer.from('\n')]) : message);
    size += message.length + (whole ? 1 : 0);
  }
  return { text: text(parts), whole: size >= MAX_LOG };
}

function text(parts: readonly Buffer[]): string {
  const all = Buffer.concat([...parts].reverse());
  return all.subarray(Math.max(0, all.length - MAX_LOG)).toString('utf8');
}
