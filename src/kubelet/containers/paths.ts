import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { AgentError } from '../../core/index.ts';
import type { Pod } from '../../kube/index.ts';

/** True for names that {@link component} takes. */
export function isComponent(text: string | undefined): text is string {
  return text !== undefined && text.length <= 253 && /^[A-Za-z0-9][-A-Za-z0-9_.]*$/.test(text);
}

/** Names that become one path component; whatever a server sends, they can't lead elsewhere. */
export function component(text: string | undefined, what: string): string {
  if (isComponent(text)) return text;
  throw new AgentError({
    code: 'POD_MALFORMED',
    message: `${what} "${(text ?? '').slice(0, 64)}" can't be used as a file name`,
  });
}

/** `/var/log/pods/NAMESPACE_NAME_UID`. */
export function podLogDirectory(logDir: string, pod: Pod): string {
  return join(logDir, logFolder(pod.metadata as { namespace: string; name: string; uid: string }));
}

export function logFolder(pod: { namespace: string; name: string; uid: string }): string {
  return `${component(pod.namespace, 'namespace')}_${component(pod.name, 'pod name')}_${component(pod.uid, 'pod uid')}`;
}

/** Log path of a container's n-th run, relative to the pod's log folder. */
export function containerLogPath(name: string, restartCount: number): string {
  return join(component(name, 'container name'), `${restartCount}.log`);
}

/** File behind a container's termination message path: one a run, so that a late write can't show in the next run. */
export function terminationLogName(podUid: string, name: string, restartCount: number): string {
  return createHash('sha256').update(`${podUid}/${name}/${restartCount}`).digest('hex').slice(0, 8);
}
