import { constants } from 'node:fs';
import { chmod, mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Mount } from '../../cri/types.ts';
import { readText } from '../../host/index.ts';
import type { Pod } from '../../kube/index.ts';
import type { PodHostname } from './hostname.ts';
import { hostsFile } from './hosts-file.ts';
import { component, podLogDirectory, terminationLogName } from './paths.ts';
import type { AnyContainer } from './spec.ts';

/** The pod's folder with the parts every pod has (kubelet makePodDataDirs). */
export async function makePodFolders(podDir: string): Promise<void> {
  await mkdir(podDir, { recursive: true, mode: 0o750 });
  await Promise.all(['volumes', 'plugins'].map((name) => mkdir(join(podDir, name), { recursive: true, mode: 0o750 })));
}

/**
 * The /etc/hosts that all containers of a pod share, written anew only when it changed, and in place: it is bind-mounted
 * by its inode. Undefined if the container mounts something there itself, or the pod has no address yet.
 */
export async function etcHostsMount(
  request: { pod: Pod; container: AnyContainer; podIps: readonly string[]; podDir: string },
  hostname: PodHostname,
): Promise<Mount | undefined> {
  const { pod, container, podIps, podDir } = request;
  if (podIps.length === 0 || container.volumeMounts?.some((m) => m.mountPath === '/etc/hosts')) return undefined;
  const path = join(podDir, 'etc-hosts');
  const own = pod.spec.hostNetwork ? ((await readText('/etc/hosts')) ?? '') : '';
  const text = hostsFile(pod, hostname, podIps, own);
  if ((await readText(path)) !== text) {
    // A container may write here, but it can't make a link of it: the name lies outside of its mount.
    const file = await open(
      path,
      constants.O_CREAT | constants.O_WRONLY | constants.O_TRUNC | constants.O_NOFOLLOW,
      0o644,
    );
    try {
      await file.chmod(0o644);
      await file.writeFile(text);
    } finally {
      await file.close();
    }
  }
  return { containerPath: '/etc/hosts', hostPath: path, readonly: false, selinuxRelabel: true };
}

/** The file behind a container's termination message path; the last two runs' are kept. */
export async function terminationLogMount(request: {
  pod: Pod;
  container: AnyContainer;
  restartCount: number;
  podDir: string;
}): Promise<Mount | undefined> {
  const { pod, container, restartCount, podDir } = request;
  const containerPath = container.terminationMessagePath ?? '/dev/termination-log';
  if (containerPath === '') return undefined;
  const uid = pod.metadata.uid as string;
  const folder = join(podDir, 'containers', component(container.name, 'container name'));
  await mkdir(folder, { recursive: true, mode: 0o750 });
  const name = (run: number) => terminationLogName(uid, container.name, run);
  if (restartCount >= 2) {
    const keep = new Set([name(restartCount), name(restartCount - 1)]);
    for (const entry of await readdir(folder))
      if (!keep.has(entry)) await rm(join(folder, entry), { recursive: true, force: true });
  }
  const path = join(folder, name(restartCount));
  await (await open(path, constants.O_CREAT | constants.O_WRONLY | constants.O_NOFOLLOW, 0o666)).close();
  await chmod(path, 0o666);
  return { containerPath, hostPath: path, readonly: false, selinuxRelabel: true };
}

/** The container's log folder, which the runtime expects to be there. */
export async function makeLogFolder(logDir: string, pod: Pod, container: AnyContainer): Promise<void> {
  const folder = join(podLogDirectory(logDir, pod), component(container.name, 'container name'));
  await mkdir(folder, { recursive: true, mode: 0o755 });
}

/** The node's resolv.conf; undefined if there is none. */
export async function readResolvConf(path: string): Promise<string> {
  return readFile(path, 'utf8');
}
