import { readPart } from './files.ts';
import type { ObservedContainer } from './model.ts';

const ANNOTATION_PATH = 'io.kubernetes.container.terminationMessagePath';
const ANNOTATION_POLICY = 'io.kubernetes.container.terminationMessagePolicy';
/** Limits of upstream pkg/kubelet/container/runtime.go: 4096 bytes of message, 2048 bytes and 80 lines of log. */
const MAX_MESSAGE = 4096;
const MAX_LOG = 2048;
const MAX_LOG_LINES = 80;

/** What a container left as its last words: its termination log, or the end of its log if it failed and asked so. */
export async function terminationMessage(
  container: ObservedContainer,
  mounts: readonly { containerPath: string; hostPath: string }[],
): Promise<string> {
  const path = container.annotations[ANNOTATION_PATH];
  const host = path === undefined ? undefined : mounts.find((m) => m.containerPath === path)?.hostPath;
  const written = host === undefined ? undefined : await readPart(host, MAX_MESSAGE, 'start');
  if (written !== undefined && written.length > 0) return toText(written);
  if (container.annotations[ANNOTATION_POLICY] !== 'FallbackToLogsOnError' || container.exitCode === 0) return '';
  // Each line of the log file carries a time and a stream name: read more than is shown.
  const tail = await readPart(container.logPath, MAX_LOG * 8, 'end');
  return tail === undefined ? '' : lastWords(toText(tail));
}

/** The messages in CRI log lines (`TIME STREAM TAG MESSAGE`), the last ones that fit. */
export function lastWords(log: string): string {
  let text = '';
  let lines = 0;
  for (const line of log.split('\n').reverse()) {
    const m = /^\S+ (?:stdout|stderr) ([FP]\S*) (.*)$/.exec(line);
    if (!m) continue;
    if (m[1] === 'F' && ++lines > MAX_LOG_LINES) break;
    text = `${m[2]}${m[1] === 'F' ? '\n' : ''}${text}`;
    if (text.length > MAX_LOG) break;
  }
  return text.slice(-MAX_LOG);
}

function toText(bytes: Buffer): string {
  return bytes.toString('utf8');
}
