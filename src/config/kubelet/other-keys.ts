import type { OtherKey } from './key.ts';
import { API_KEYS } from './others/api.ts';
import { CADVISOR_KEYS } from './others/cadvisor.ts';
import { CGROUP_KEYS } from './others/cgroups.ts';
import { GONE_KEYS } from './others/gone.ts';
import { NODE_KEYS } from './others/node.ts';
import { PACE_KEYS } from './others/pace.ts';
import { POD_KEYS } from './others/pods.ts';
import { PROCESS_KEYS } from './others/process.ts';

/**
 * Settings of the kubelet, 1.21 to 1.36, that nothing here reads, by topic. docs/kubelet-arg.md is made of this, in this
 * order.
 */
export const OTHER_KEYS: readonly OtherKey[] = [
  ...NODE_KEYS,
  ...API_KEYS,
  ...PACE_KEYS,
  ...PROCESS_KEYS,
  ...CGROUP_KEYS,
  ...POD_KEYS,
  ...CADVISOR_KEYS,
  ...GONE_KEYS,
];
