import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { openApi } from './lib/api.ts';

/**
 * join.ts KUBECONFIG NODE -- COMMAND…: starts the agent and prints how long it takes until the API server shows its Node
 * registered, and Ready. One JSON line: {node, registeredMs, readyMs}. The agent is left running, its output goes to
 * $LOG. The Node must not be there before.
 */
const [kubeconfig, node, dashes, file, ...args] = process.argv.slice(2);
if (!kubeconfig || !node || dashes !== '--' || !file) fail('usage: join.ts KUBECONFIG NODE -- COMMAND…');
const LIMIT_MS = 180_000;

interface Node {
  status?: { conditions?: { type: string; status: string }[] };
}

const api = openApi(kubeconfig);
let started = Number.NaN;
let registered: number | undefined;
await api.watch<Node>(
  `/api/v1/nodes?fieldSelector=metadata.name%3D${encodeURIComponent(node)}`,
  ({ type, object }) => {
    const now = performance.now();
    if (type !== 'ADDED' && type !== 'MODIFIED') return;
    // The server lists what it has as soon as the watch stands; an agent needs far longer to join.
    if (registered === undefined && type === 'ADDED' && !(now - started > 50))
      fail(`there is a Node ${node} already: delete it first`);
    registered ??= now;
    if (!object.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True')) return;
    const ms = (at: number) => Math.round(at - started);
    console.log(JSON.stringify({ node, registeredMs: ms(registered), readyMs: ms(now) }));
    process.exit();
  },
  (error) => fail(error.message),
);

const log = openSync(process.env.LOG ?? '/dev/null', 'a');
started = performance.now();
const child = spawn(file, args, { detached: true, stdio: ['ignore', log, log] });
child.on('error', (error) => fail(error.message));
child.on('exit', (code, signal) => fail(`the agent ended before its Node was ready: ${signal ?? `exit ${code}`}`));
setTimeout(() => fail(`the Node was not Ready within ${LIMIT_MS / 1000} s`), LIMIT_MS);

function fail(why: string): never {
  console.error(why);
  process.exit(1);
}
