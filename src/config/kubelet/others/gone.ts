import { alike, type OtherKey } from '../key.ts';
import { anything, bool, float, text } from '../kinds.ts';
import { DOCKER, LOG, PROXY_CHAINS } from './why.ts';

const DYNAMIC = 'the kubelet lost it in 1.24';
const WINDOWS = 'it is for Windows';

/** What kubelets of today no longer have, or never had on Linux. */
export const GONE_KEYS: readonly OtherKey[] = [
  ...alike(
    [
      'docker-endpoint',
      'image-pull-progress-deadline',
      'network-plugin',
      'cni-conf-dir',
      'cni-bin-dir',
      'cni-cache-dir',
      'network-plugin-mtu',
      'experimental-dockershim-root-directory',
    ],
    { kind: anything, state: 'needless', why: `${DOCKER}, and this with it`, until: 23 },
  ),
  ...alike(
    [
      'add-dir-header',
      'alsologtostderr',
      'log-backtrace-at',
      'log-dir',
      'log-file',
      'log-file-max-size',
      'logtostderr',
      'one-output',
      'skip-headers',
      'skip-log-headers',
      'stderrthreshold',
    ],
    { kind: anything, state: 'needless', why: LOG, until: 25 },
  ),
  {
    flag: 'experimental-logging-sanitization',
    field: 'logging.sanitization',
    kind: bool,
    state: 'needless',
    why: 'secrets never get into the log',
    until: 23,
  },
  { flag: 'dynamic-config-dir', kind: text, state: 'ignored', why: DYNAMIC, until: 23 },
  {
    flag: 'master-service-namespace',
    kind: text,
    state: 'needless',
    why: 'the kubernetes Service lies in the namespace default',
    until: 26,
  },
  { flag: 'non-masquerade-cidr', kind: text, state: 'needless', why: PROXY_CHAINS, until: 23 },
  {
    flag: 'keep-terminated-pod-volumes',
    kind: bool,
    state: 'ignored',
    why: 'volumes of a pod that ended are unmounted',
    harmless: [false],
    until: 26,
  },
  { flag: 'really-crash-for-testing', kind: bool, state: 'needless', why: 'it was for tests', until: 22 },
  { flag: 'chaos-chance', kind: float, state: 'needless', why: 'it was for tests', until: 22 },
  {
    flag: 'seccomp-profile-root',
    kind: text,
    state: 'ignored',
    why: 'profiles lie in the folder seccomp of the root folder',
    harmless: ['/var/lib/kubelet/seccomp'],
    until: 22,
  },
  {
    flag: 'experimental-check-node-capabilities-before-mount',
    kind: bool,
    state: 'needless',
    why: 'a mount that fails says why',
    until: 22,
  },
  {
    flag: 'experimental-kernel-memcg-notification',
    kind: bool,
    state: 'needless',
    why: 'memory pressure is an event of the kernel anyway',
    until: 23,
  },
  {
    flag: 'azure-container-registry-config',
    kind: text,
    state: 'ignored',
    why: 'use a credential provider plugin',
    until: 32,
  },
  {
    flag: 'rootless',
    field: 'rootless',
    kind: bool,
    state: 'ignored',
    why: 'the agent needs root',
    harmless: [false],
    until: 21,
  },
  { flag: 'windows-service', kind: bool, state: 'ignored', why: WINDOWS, harmless: [false] },
  { flag: 'windows-priorityclass', kind: text, state: 'ignored', why: WINDOWS },
];
