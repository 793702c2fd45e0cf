import { BUSYBOX_IMAGE } from '../../lab/index.ts';

/** What tests look at of a Node. */
export interface NodeView {
  metadata: { uid: string; labels: Record<string, string>; annotations: Record<string, string> };
  spec: { podCIDR?: string; taints?: { key: string; effect: string }[]; providerID?: string };
  status: {
    conditions?: ConditionView[];
    addresses?: { type: string; address: string }[];
    nodeInfo: { kubeletVersion: string };
  };
}

export interface ConditionView {
  type: string;
  status: string;
  reason?: string;
  lastTransitionTime?: string;
  message?: string;
}

/** What tests look at of a Pod. */
export interface PodView {
  metadata: { name: string; uid: string; deletionTimestamp?: string };
  spec: { nodeName?: string };
  status: {
    phase: string;
    podIP?: string;
    startTime?: string;
    conditions?: ConditionView[];
    containerStatuses?: { containerID?: string; restartCount: number; state: Record<string, { startedAt?: string }> }[];
  };
}

export interface List<T> {
  items: T[];
}

export function isReady(object: { status?: { conditions?: ConditionView[] } }): boolean {
  return object.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
}

/** Says `hello` once, then waits, and leaves at once on TERM. */
export const WAITING = ['sh', '-c', 'trap "exit 0" TERM; echo hello; while :; do sleep 1000 & wait $!; done'];

export function podOf(
  name: string,
  options: { command?: string[]; node?: string; spec?: Record<string, unknown> } = {},
) {
  return {
    metadata: { name, labels: { app: name } },
    spec: {
      ...(options.node ? { nodeName: options.node } : {}),
      terminationGracePeriodSeconds: 5,
      containers: [
        { name: 'main', image: BUSYBOX_IMAGE, imagePullPolicy: 'IfNotPresent', command: options.command ?? WAITING },
      ],
      ...options.spec,
    },
  };
}

export function deploymentOf(name: string, replicas: number, command: string[] = WAITING) {
  const { spec } = podOf(name, { command });
  return {
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec },
    },
  };
}

export const PODS = '/api/v1/namespaces/default/pods';
export const DEPLOYMENTS = '/apis/apps/v1/namespaces/default/deployments';
