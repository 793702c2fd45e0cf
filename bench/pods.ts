import { burst } from './lib/burst.ts';

/**
 * pods.ts KUBECONFIG NODE COUNT [IMAGE]: creates COUNT pods bound to NODE at once, waits until all are Ready, deletes
 * them all at once. Prints one JSON line: {node, count, readyMs: {p50, p99, max}, goneMs: {…}}: from POST to Ready and from
 * DELETE to gone, as the API server's watch shows them. The image must be on the node, with a shell.
 */
const [kubeconfig, node, countText, image] = process.argv.slice(2);
const count = Number(countText);
if (!kubeconfig || !node || !(count > 0)) {
  console.error('usage: pods.ts KUBECONFIG NODE COUNT [IMAGE]');
  process.exit(1);
}
const { readyMs, end } = await burst({ kubeconfig, node, count, ...(image ? { image } : {}) });
console.log(JSON.stringify({ node, count, readyMs, goneMs: await end() }));
process.exit();
