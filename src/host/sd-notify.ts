import { systemClock } from '../core/index.ts';
import { type Exec, hostExec } from './exec.ts';

/** Tells systemd of the service's state, as sd_notify(3). Without NOTIFY_SOCKET every call does nothing. */
export interface Notifier {
  ready(status: string): void;
  status(status: string): void;
  stopping(): void;
}

/**
 * Node has no AF_UNIX datagrams, so the message goes through systemd-notify(1), which is a part of systemd and therefore
 * there whenever NOTIFY_SOCKET is; the unit has NotifyAccess=all since it is another pid that speaks. Each call starts a
 * process, so texts that follow each other within a second are sent as one. The variable is taken out of the
 * environment: containerd and everything else started from here must not speak in the agent's name.
 */
export function createNotifier(env: NodeJS.ProcessEnv = process.env, exec: Exec = hostExec): Notifier {
  const socket = env.NOTIFY_SOCKET;
  delete env.NOTIFY_SOCKET;
  if (socket === undefined) return { ready() {}, status() {}, stopping() {} };
  let pending: string[] = [];
  let status: string | undefined;
  let sent: string | undefined;
  let timer: (() => void) | undefined;
  const flush = () => {
    timer?.();
    timer = undefined;
    const words = pending;
    pending = [];
    if (status !== undefined && status !== sent) words.push(`STATUS=${status}`);
    sent = status;
    if (words.length === 0) return;
    void exec
      .run(['systemd-notify', `--pid=${process.pid}`, ...words], { env: { NOTIFY_SOCKET: socket }, timeoutMs: 5_000 })
      .catch(() => {});
  };
  return {
    ready(text) {
      pending.push('READY=1');
      status = oneLine(text);
      flush();
    },
    status(text) {
      status = oneLine(text);
      timer ??= systemClock.after(1_000, flush);
    },
    stopping() {
      pending.push('STOPPING=1');
      flush();
    },
  };
}

/** Each line is an assignment of its own to systemd, and a text may hold what a server said: no `MAINPID=` from there. */
function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, 500);
}
