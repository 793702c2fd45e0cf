import type { OtherKey } from '../key.ts';
import { anything, bool, int, text } from '../kinds.ts';
import { DOCKER, PROXY_CHAINS } from './why.ts';

const RUNTIME_NETWORK = 'containerd sets up the network of pods; the agent writes its CNI configuration';
const ENDPOINT = 'give it with --container-runtime-endpoint of the agent';

/** Pods, their network and the container runtime. */
export const POD_KEYS: readonly OtherKey[] = [
  {
    flag: 'manifest-url',
    field: 'staticPodURL',
    kind: text,
    state: 'ignored',
    why: 'manifests are read from files only (pod-manifest-path); a timer can fetch them',
    harmless: [''],
  },
  {
    flag: 'manifest-url-header',
    field: 'staticPodURLHeader',
    kind: anything,
    state: 'needless',
    why: 'no manifest is read from a URL',
  },
  {
    flag: 'pod-cidr',
    field: 'podCIDR',
    kind: text,
    state: 'ignored',
    why: 'the server gives each node its block of pod addresses',
    harmless: [''],
  },
  { flag: 'hairpin-mode', field: 'hairpinMode', kind: text, state: 'needless', why: RUNTIME_NETWORK },
  {
    flag: 'make-iptables-util-chains',
    field: 'makeIPTablesUtilChains',
    kind: bool,
    state: 'needless',
    why: PROXY_CHAINS,
  },
  {
    flag: 'iptables-masquerade-bit',
    field: 'iptablesMasqueradeBit',
    kind: int({ min: 0, max: 31 }),
    state: 'needless',
    why: PROXY_CHAINS,
    until: 27,
  },
  {
    flag: 'iptables-drop-bit',
    field: 'iptablesDropBit',
    kind: int({ min: 0, max: 31 }),
    state: 'needless',
    why: PROXY_CHAINS,
    until: 27,
  },
  {
    flag: 'volume-plugin-dir',
    field: 'volumePluginDir',
    kind: text,
    state: 'needless',
    why: 'FlexVolume plugins are not run; CSI drivers are what they became',
  },
  {
    flag: 'experimental-mounter-path',
    kind: text,
    state: 'ignored',
    why: 'mount(8) of the host is used',
    harmless: [''],
  },

  // The container runtime
  {
    flag: 'container-runtime-endpoint',
    field: 'containerRuntimeEndpoint',
    kind: text,
    state: 'refused',
    why: ENDPOINT,
    harmless: [''],
  },
  {
    flag: 'image-service-endpoint',
    field: 'imageServiceEndpoint',
    kind: text,
    state: 'refused',
    why: 'give it with --image-service-endpoint of the agent',
    harmless: [''],
  },
  {
    flag: 'pod-infra-container-image',
    kind: text,
    state: 'ignored',
    why: 'give it with --pause-image of the agent',
    until: 34,
  },
  { flag: 'container-runtime', kind: text, state: 'refused', why: DOCKER, harmless: ['remote'], until: 26 },
];
