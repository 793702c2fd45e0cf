import { openApi } from './api.ts';
import { type Spread, spread } from './stats.ts';

export interface BurstOptions {
  kubeconfig: string;
  node: string;
  count: number;
  /** Must be on the node, with a shell. */
  image?: string;
  /** So many of the pods have a readiness probe: a process started in the container every 10 s. */
  probes?: number;
}

export interface Burst {
  /** ms from POST to Ready, as the API server's watch shows them. */
  readyMs: Spread;
  /** Deletes them all at once; ms from DELETE to gone. */
  end(): Promise<Spread>;
}

const LIMIT_MS = 300_000;
const PODS = '/api/v1/namespaces/default/pods';
const TRAPPED = 'trapped';

interface Pod {
  metadata: { name: string };
  status?: { conditions?: { type: string; status: string }[] };
}

/** Creates pods bound to a node at once and waits until all are Ready. Rejects after removing them if they never are. */
export async function burst(options: BurstOptions): Promise<Burst> {
  const { kubeconfig, count } = options;
  const api = openApi(kubeconfig);
  const run = `bench-${Date.now().toString(36)}`;
  const selector = `labelSelector=bench%3D${run}`;
  const names = Array.from({ length: count }, (_, i) => `${run}-${i}`);
  const asked: Times = new Map();
  const ready: Times = new Map();
  const removed: Times = new Map();
  const gone: Times = new Map();
  let changed = () => {};
  const giveUp = async (why: string): Promise<never> => {
    await api.call('DELETE', `${PODS}?${selector}&gracePeriodSeconds=0`).catch(() => {});
    throw new Error(why);
  };
  let fail: (error: Error) => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    fail = reject;
  });
  ended.catch(() => {});
  await api.watch<Pod>(
    `${PODS}?${selector}`,
    ({ type, object }) => {
      const now = performance.now();
      const name = object.metadata.name;
      const isReady = object.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True');
      if (type === 'DELETED') gone.set(name, now);
      else if (isReady && !ready.has(name)) ready.set(name, now);
      changed();
    },
    fail,
  );

  /** Resolves when every pod is in the map. */
  const until = async (reached: Times): Promise<void> => {
    const late = setTimeout(() => changed(), LIMIT_MS);
    const end = performance.now() + LIMIT_MS;
    while (reached.size < count) {
      if (performance.now() >= end) await giveUp(`${reached.size} of ${count} after ${LIMIT_MS / 1000} s`);
      const next = new Promise<void>((resolve) => {
        changed = resolve;
      });
      await Promise.race([next, ended]).catch((error: Error) => giveUp(error.message));
    }
    clearTimeout(late);
  };
  const post = (name: string, i: number) => {
    asked.set(name, performance.now());
    return api.call('POST', PODS, podOf(name, { ...options, run, probed: i < (options.probes ?? 0) }));
  };
  const since = (from: Times, to: Times) =>
    spread(names.map((name) => (to.get(name) as number) - (from.get(name) as number)));

  await Promise.all(names.map(post));
  await until(ready);
  return {
    readyMs: since(asked, ready),
    async end() {
      await allTrapped(names, (path) => api.text(path), giveUp);
      await Promise.all(
        names.map((name) => {
          removed.set(name, performance.now());
          return api.call('DELETE', `${PODS}/${name}`);
        }),
      );
      await until(gone);
      return since(removed, gone);
    },
  };
}

type Times = Map<string, number>;

function podOf(name: string, options: BurstOptions & { run: string; probed: boolean }) {
  const { node, image = 'docker.io/library/busybox:latest', run, probed } = options;
  return {
    metadata: { name, labels: { bench: run } },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 5,
      tolerations: [{ operator: 'Exists' }],
      containers: [
        {
          name: 'main',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', `trap 'exit 0' TERM; echo ${TRAPPED}; while :; do sleep 1000 & wait $!; done`],
          ...(probed ? { readinessProbe: { exec: { command: ['true'] }, periodSeconds: 10 } } : {}),
        },
      ],
    },
  };
}

/** A container whose shell has not set its trap yet ignores TERM and waits out the whole grace period: not our subject. */
async function allTrapped(
  names: readonly string[],
  text: (path: string) => Promise<string | undefined>,
  giveUp: (why: string) => Promise<never>,
): Promise<void> {
  const left = [...names];
  const one = async () => {
    for (let name = left.pop(); name !== undefined; name = left.pop())
      for (let tries = 0; !(await text(`${PODS}/${name}/log`))?.includes(TRAPPED); tries++) {
        if (tries > 100) await giveUp(`the log of ${name} never said "${TRAPPED}"`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
  };
  await Promise.all(Array.from({ length: 4 }, one));
}
