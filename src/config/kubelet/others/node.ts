import type { OtherKey } from '../key.ts';
import { bool, text } from '../kinds.ts';

const CREDENTIALS = 'the agent gets its certificates from the k3s server and renews them';

/** Who the node is. */
export const NODE_KEYS: readonly OtherKey[] = [
  { flag: 'kubeconfig', kind: text, state: 'ignored', why: CREDENTIALS },
  { flag: 'bootstrap-kubeconfig', kind: text, state: 'ignored', why: CREDENTIALS },
  { flag: 'experimental-bootstrap-kubeconfig', kind: text, state: 'ignored', why: CREDENTIALS, until: 27 },
  { flag: 'cert-dir', kind: text, state: 'needless', why: CREDENTIALS },
  { flag: 'rotate-certificates', field: 'rotateCertificates', kind: bool, state: 'needless', why: CREDENTIALS },
  {
    flag: 'rotate-server-certificates',
    field: 'serverTLSBootstrap',
    kind: bool,
    state: 'ignored',
    why: CREDENTIALS,
    harmless: [false],
  },
  {
    flag: 'hostname-override',
    kind: text,
    state: 'refused',
    why: 'the name under which the node joins is given with --node-name, and the kubelet must have the same',
  },
  {
    flag: 'node-ip',
    kind: text,
    state: 'refused',
    why: "the node's addresses are given with --node-ip of the agent; flannel and the tunnel need the same",
  },
  {
    flag: 'register-node',
    field: 'registerNode',
    kind: bool,
    state: 'refused',
    why: 'a k3s agent is there to be a node',
    harmless: [true],
  },
  {
    flag: 'register-schedulable',
    kind: bool,
    state: 'ignored',
    why: 'use --node-taint, or kubectl cordon',
    harmless: [true],
    until: 26,
  },
  {
    flag: 'cloud-provider',
    kind: text,
    state: 'ignored',
    why: "the server says whether k3s's cloud controller runs",
    harmless: ['external', ''],
  },
  {
    flag: 'cloud-config',
    kind: text,
    state: 'ignored',
    why: 'no cloud provider is built in',
    harmless: [''],
    until: 30,
  },
  {
    flag: 'enable-controller-attach-detach',
    field: 'enableControllerAttachDetach',
    kind: bool,
    state: 'ignored',
    why: 'volumes are attached by the server',
    harmless: [true],
  },
  {
    field: 'enableServer',
    flag: 'enable-server',
    kind: bool,
    state: 'ignored',
    why: 'logs, exec and metrics go through the kubelet API',
    harmless: [true],
  },
  {
    flag: 'runonce',
    field: 'runOnce',
    kind: bool,
    state: 'refused',
    why: 'that mode is no longer there in the original either',
    harmless: [false],
  },
];
