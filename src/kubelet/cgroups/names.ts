import { join } from 'node:path';
import { component } from '../containers/paths.ts';
import type { QosClass } from '../containers/qos.ts';

export type CgroupDriver = 'cgroupfs' | 'systemd';

/** Paths of the pods' cgroups below a hierarchy's mount point, and what the runtime is told. */
export interface CgroupNames {
  /** `kubepods`, under which everything lies. */
  top(): string;
  qos(qos: QosClass): string;
  pod(uid: string, qos: QosClass): string;
  /** The CRI's cgroup_parent of a pod. */
  parent(uid: string, qos: QosClass): string;
  /** The uid a folder belongs to; undefined if it is no pod's. */
  uidOf(folder: string): string | undefined;
  /** systemd's unit name of a path's last part. */
  unit(path: string): string;
}

const TIER: Readonly<Record<QosClass, string>> = { Guaranteed: '', Burstable: 'burstable', BestEffort: 'besteffort' };

/** `root`: the cgroup under which kubepods lies. */
export function cgroupNames(driver: CgroupDriver, root: string): CgroupNames {
  return driver === 'cgroupfs' ? plainNames(root) : sliceNames(root);
}

function plainNames(root: string): CgroupNames {
  const top = join('/', root, 'kubepods');
  const pod = (uid: string, qos: QosClass) => join(top, TIER[qos], `pod${component(uid, 'pod uid')}`);
  return {
    top: () => top,
    qos: (qos) => join(top, TIER[qos]),
    pod,
    parent: pod,
    uidOf: (folder) => /^pod(.+)$/.exec(folder)?.[1],
    unit: (path) => path.split('/').at(-1) ?? '',
  };
}

/** systemd nests slices by the dashes of their names, so uids have theirs replaced. */
function sliceNames(root: string): CgroupNames {
  const top = join('/', root, 'kubepods.slice');
  const qos = (c: QosClass) => (TIER[c] === '' ? top : join(top, `kubepods-${TIER[c]}.slice`));
  const slice = (uid: string, c: QosClass) => {
    const name = `pod${component(uid, 'pod uid').replaceAll('-', '_')}.slice`;
    return TIER[c] === '' ? `kubepods-${name}` : `kubepods-${TIER[c]}-${name}`;
  };
  return {
    top: () => top,
    qos,
    pod: (uid, c) => join(qos(c), slice(uid, c)),
    parent: (uid, c) => slice(uid, c),
    uidOf: (folder) => /^kubepods-(?:burstable-|besteffort-)?pod(.+)\.slice$/.exec(folder)?.[1]?.replaceAll('_', '-'),
    unit: (path) => path.split('/').at(-1) ?? '',
  };
}
