import { setTimeout as sleep } from 'node:timers/promises';
import { openApi } from './lib/api.ts';
import { spread } from './lib/stats.ts';

/**
 * change.ts KUBECONFIG NODE TIMES [IMAGE]: a pod prints its ConfigMap's file whenever it differs from before; the ConfigMap
 * is changed TIMES times. One JSON line: {changeMs: {p50, p99, max}}: from PUT to the new text in the pod's log, which is
 * asked for every 50 ms.
 */
const [kubeconfig, node, timesText, image = 'docker.io/library/busybox:latest'] = process.argv.slice(2);
const times = Number(timesText);
if (!kubeconfig || !node || !(times > 0)) {
  console.error('usage: change.ts KUBECONFIG NODE TIMES [IMAGE]');
  process.exit(1);
}
const CORE = '/api/v1/namespaces/default';
const LIMIT_MS = 180_000;
const api = openApi(kubeconfig);
const name = `change-${Date.now().toString(36)}`;
const took: number[] = [];
await api.call('POST', `${CORE}/configmaps`, { metadata: { name }, data: { text: 'v0' } });
try {
  await api.call('POST', `${CORE}/pods`, {
    metadata: { name },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      volumes: [{ name: 'config', configMap: { name } }],
      containers: [
        {
          name: 'main',
          image,
          imagePullPolicy: 'IfNotPresent',
          command: [
            'sh',
            '-c',
            'while :; do t=$(cat /config/text); [ "$t" = "$o" ] || echo "$t"; o=$t; sleep 0.02; done',
          ],
          volumeMounts: [{ name: 'config', mountPath: '/config' }],
        },
      ],
    },
  });
  await shown('v0');
  for (let i = 1; i <= times; i++) {
    // Not in step with anybody's period.
    await sleep(500 + 137 * i);
    const from = performance.now();
    await api.call('PUT', `${CORE}/configmaps/${name}`, { metadata: { name }, data: { text: `v${i}` } });
    await shown(`v${i}`);
    took.push(performance.now() - from);
  }
} finally {
  await api.call('DELETE', `${CORE}/pods/${name}?gracePeriodSeconds=0`).catch(() => {});
  await api.call('DELETE', `${CORE}/configmaps/${name}`).catch(() => {});
}
console.log(JSON.stringify({ changeMs: spread(took) }));
process.exit();

async function shown(text: string): Promise<void> {
  const end = performance.now() + LIMIT_MS;
  while (!(await api.text(`${CORE}/pods/${name}/log?tailLines=1`))?.split('\n').includes(text)) {
    if (performance.now() > end) throw new Error(`${text} did not appear in the pod within ${LIMIT_MS / 1000} s`);
    await sleep(50);
  }
}
