import type { OtherKey } from '../key.ts';
import { anything, bool, int, int64, text } from '../kinds.ts';
import { LOG } from './why.ts';

/** The agent as a process. */
export const PROCESS_KEYS: readonly OtherKey[] = [
  {
    flag: 'oom-score-adj',
    field: 'oomScoreAdj',
    kind: int({ min: -1000, max: 1000 }),
    state: 'needless',
    why: 'the systemd unit sets it (OOMScoreAdjust=)',
  },
  {
    flag: 'max-open-files',
    field: 'maxOpenFiles',
    kind: int64({ min: 0 }),
    state: 'needless',
    why: 'the systemd unit sets it (LimitNOFILE=)',
  },
  {
    flag: 'kubelet-cgroups',
    field: 'kubeletCgroups',
    kind: text,
    state: 'ignored',
    why: 'systemd puts the agent in its cgroup',
    harmless: ['', '/k3s'],
  },
  { flag: 'runtime-cgroups', kind: text, state: 'needless', why: 'the cgroup of containerd is found by its process' },
  {
    flag: 'system-cgroups',
    field: 'systemCgroups',
    kind: text,
    state: 'ignored',
    why: 'systemd puts processes in cgroups',
    harmless: [''],
  },
  {
    flag: 'fail-swap-on',
    field: 'failSwapOn',
    kind: bool,
    state: 'ignored',
    why: 'the agent starts with swap, as k3s sets it',
    harmless: [false],
  },
  {
    flag: 'fail-cgroupv1',
    field: 'failCgroupV1',
    kind: bool,
    state: 'ignored',
    why: 'cgroup v1 works; boards with old kernels have nothing else',
    harmless: [false],
  },
  { flag: 'logging-format', field: 'logging.format', kind: text, state: 'needless', why: LOG },
  { flag: 'log-flush-frequency', field: 'logging.flushFrequency', kind: anything, state: 'needless', why: LOG },
  { flag: 'v', field: 'logging.verbosity', kind: anything, state: 'needless', why: LOG },
  { flag: 'vmodule', field: 'logging.vmodule', kind: anything, state: 'needless', why: LOG },
  { field: 'logging.options', kind: anything, state: 'needless', why: LOG },
  { flag: 'log-text-split-stream', kind: bool, state: 'needless', why: LOG },
  { flag: 'log-text-info-buffer-size', kind: text, state: 'needless', why: LOG },
  { flag: 'log-json-split-stream', kind: bool, state: 'needless', why: LOG },
  { flag: 'log-json-info-buffer-size', kind: text, state: 'needless', why: LOG },
  {
    flag: 'help',
    kind: anything,
    state: 'refused',
    why: 'there is no help of the kubelet; docs/kubelet-arg.md lists its settings',
  },
  { flag: 'version', kind: anything, state: 'refused', why: 'k3s-agent version says it' },
  { field: 'tracing', kind: anything, state: 'ignored', why: 'no traces are exported' },
];
