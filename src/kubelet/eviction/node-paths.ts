import type { Pod } from '../../kube/index.ts';
import { type CgroupDriver, cgroupNames } from '../cgroups/index.ts';
import type { CgroupReader } from '../cgroups/usage.ts';
import { qosClassOf } from '../containers/qos.ts';
import { createLayout, type Layout } from '../volumes/index.ts';

export interface NodePaths {
  layout: Layout;
  cgroups: CgroupReader;
  /** Path of kubepods below a hierarchy's mount point. */
  kubepods: string;
  cgroupOf(pod: Pod): string;
}

/** Where pods' files and cgroups lie. `cgroupRoot`: the cgroup under which kubepods lies; `/` when left out. */
export function nodePaths(options: {
  rootDir: string;
  version: 1 | 2;
  driver: CgroupDriver;
  cgroupRoot?: string;
}): NodePaths {
  const { rootDir, version, driver, cgroupRoot = '/' } = options;
  const names = cgroupNames(driver, cgroupRoot);
  return {
    layout: createLayout(rootDir),
    cgroups: { version, mount: '/sys/fs/cgroup' },
    kubepods: names.top(),
    cgroupOf: (pod) => names.pod(pod.metadata.uid as string, qosClassOf(pod)),
  };
}
