import { type Cluster, clusterUnavailable, createCluster } from '../test/e2e/support/cluster.ts';
import { isReady, type NodeView, PODS, type PodView, podOf } from '../test/e2e/support/objects.ts';

/** What a newcomer sees first: a server, a board that joins it, a pod with its log and an exec. Ends with Ctrl-C. */
const unavailable = clusterUnavailable();
if (unavailable) {
  console.error(`the demo can't run here: ${unavailable}`);
  process.exit(1);
}

let cluster: Cluster | undefined;
let leaving: Promise<void> | undefined;
const leave = () => {
  leaving ??= (async () => {
    say('removing everything this made');
    await cluster?.remove();
  })();
  return leaving;
};
const interrupted = new Promise<void>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, resolve);
});
const stopped = interrupted.then(() => {
  throw new Error('interrupted');
});
stopped.catch(() => {});

try {
  await Promise.race([demo(), stopped]);
  say('everything works; Ctrl-C ends it');
  await interrupted;
} catch (error) {
  if ((error as Error).message !== 'interrupted') {
    console.error(cluster?.logs() ?? '');
    console.error(error);
    process.exitCode = 1;
  }
}
await leave();
process.exit();

async function demo(): Promise<void> {
  say('starting the stand-in k3s server, and a board in namespaces of this machine');
  cluster = await createCluster(1);
  const { agent, host } = await cluster.agent('n1');
  const started = performance.now();
  agent.start();
  await cluster.api.until<NodeView>('the node is ready', '/api/v1/nodes/n1', isReady, 60_000);
  say(`the board joined and is Ready ${((performance.now() - started) / 1000).toFixed(1)} s after its start`);
  await show('get', 'nodes', '-o', 'wide');

  say('a pod, from an air-gap image built on the spot');
  const asked = performance.now();
  await cluster.api.create(PODS, podOf('hello'));
  await cluster.api.until<PodView>('the pod is ready', `${PODS}/hello`, isReady, 60_000);
  say(`the pod is Ready ${((performance.now() - asked) / 1000).toFixed(1)} s after it was asked for`);
  await show('get', 'pods', '-o', 'wide');
  await show('logs', 'hello');
  await show('exec', 'hello', '--', 'sh', '-c', 'hostname; ip address show eth0');

  say('what the agent says of itself: k3s-agent status');
  const program = process.env.K3S_AGENT_BIN ?? `${import.meta.dirname}/../dist/k3s-agent-${process.arch}`;
  console.log(await host.run([program, 'status']));
  say(`your own commands: ${cluster.kubectlArgv('get', 'pods').join(' ')}`);
}

async function show(...args: string[]): Promise<void> {
  console.log(`$ kubectl ${args.join(' ')}`);
  console.log(await cluster?.kubectl(...args));
}

function say(text: string): void {
  console.log(`\n== ${text}`);
}
