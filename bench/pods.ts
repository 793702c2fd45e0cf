import { openApi } from './lib/api.ts';
import { spread } from './lib/stats.ts';

/**
 * pods.ts KUBECONFIG NODE COUNT [IMAGE]: creates COUNT pods bound to NODE at once, waits until all are Ready, deletes
 * them all at once. Prints one JSON line: {node, count, readyMs: {p50, p99, max}, goneMs: {…}}: from POST to Ready and from
 * DELETE to gone, as the API server's watch shows them. The image must be on the node, with a shell.
 */
const [kubeconfig, node, countText, image = 'docker.io/library/busybox:latest'] = process.argv.slice(2);
const count = Number(countText);
if (!kubeconfig || !node || !(count > 0)) fail('usage: pods.ts KUBECONFIG NODE COUNT [IMAGE]');
const LIMIT_MS = 300_000;
const PODS = '/api/v1/namespaces/default/pods';
const TRAPPED = 'trapped';

interface Pod {
  metadata: { name: string };
  status?: { conditions?: { type: string; status: string }[] };
}

const api = openApi(kubeconfig);
const run = `bench-${Date.now().toString(36)}`;
const selector = `labelSelector=bench%3D${run}`;
const names = Array.from({ length: count }, (_, i) => `${run}-${i}`);
const asked = new Map<string, number>();
const ready = new Map<string, number>();
const removed = new Map<string, number>();
const gone = new Map<string, number>();
let changed = () => {};

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
  (error) => void giveUp(error.message),
);

await Promise.all(
  names.map((name) => {
    asked.set(name, performance.now());
    return api.call('POST', PODS, podOf(name));
  }),
);
await until(ready);
await allTrapped();
await Promise.all(
  names.map((name) => {
    removed.set(name, performance.now());
    return api.call('DELETE', `${PODS}/${name}`);
  }),
);
await until(gone);
const since = (from: Map<string, number>, to: Map<string, number>) =>
  spread(names.map((name) => (to.get(name) as number) - (from.get(name) as number)));
console.log(JSON.stringify({ node, count, readyMs: since(asked, ready), goneMs: since(removed, gone) }));
process.exit();

function podOf(name: string) {
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
        },
      ],
    },
  };
}

/** Resolves when every pod is in the map. */
async function until(reached: Map<string, number>): Promise<void> {
  const timer = setTimeout(() => void giveUp(`${reached.size} of ${count} after ${LIMIT_MS / 1000} s`), LIMIT_MS);
  while (reached.size < count)
    await new Promise<void>((resolve) => {
      changed = resolve;
    });
  clearTimeout(timer);
}

/** A container whose shell has not set its trap yet ignores TERM and waits out the whole grace period: not our subject. */
async function allTrapped(): Promise<void> {
  const left = [...names];
  const one = async () => {
    for (let name = left.pop(); name !== undefined; name = left.pop())
      for (let tries = 0; !(await api.text(`${PODS}/${name}/log`))?.includes(TRAPPED); tries++) {
        if (tries > 100) await giveUp(`the log of ${name} never said "${TRAPPED}"`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
  };
  await Promise.all(Array.from({ length: 4 }, one));
}

async function giveUp(why: string): Promise<never> {
  await api.call('DELETE', `${PODS}?${selector}&gracePeriodSeconds=0`).catch(() => {});
  fail(why);
}

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
