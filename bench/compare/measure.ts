import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../../test/e2e/support/cluster.ts';
import { isReady, PODS, type PodView, podOf } from '../../test/e2e/support/objects.ts';
import { type LabHost, run } from '../../test/lab/index.ts';
import { commandOf, memoryOf } from '../lib/process.ts';
import { quantile, type Spread } from '../lib/stats.ts';
import type { Contender } from './contender.ts';
import type { FigureName } from './figures.ts';

export type Figures = Partial<Record<FigureName, number>>;

export interface MeasureOptions {
  cluster: Cluster;
  contender: Contender;
  /** Fresh hosts; the agent joins on each, the rest is measured on the last. */
  hosts: readonly string[];
  idleSeconds: number;
  /** Also 105 pods, which takes five minutes more. */
  crowd: boolean;
  say: (text: string) => void;
}

interface PodsLine {
  readyMs: Spread;
  goneMs: Spread;
}

/** Time for what a burst leaves behind: collected garbage, statuses written, mounts gone. */
const SETTLE_MS = 3_000;
const ROUNDS = 3;
const IDLE_SETTLE_MS = 40_000;

/** One agent on the last of its hosts, with what was measured of it so far. */
export interface Side {
  options: MeasureOptions;
  host: LabHost;
  figures: Figures;
  /** `containerd://…` as the Node says. */
  runtime: string;
}

/** Joins with each host, and measures what a single pod and idleness cost on the last one. */
export async function begin(options: MeasureOptions): Promise<Side> {
  const { cluster, contender, hosts, say } = options;
  const joins: number[] = [];
  let host: LabHost | undefined;
  for (const name of hosts) {
    if (host) await retire(cluster, host);
    host = await cluster.lab.boot(name);
    contender.prepare(host);
    joins.push(await joinTime(cluster, contender, host));
    say(`joined in ${joins.at(-1)} ms`);
    await sleep(SETTLE_MS);
  }
  if (host === undefined) throw new Error('no host to measure on');
  const { status } = await cluster.api.get<{ status: { nodeInfo: { containerRuntimeVersion: string } } }>(
    `/api/v1/nodes/${host.name}`,
  );
  const idle = await idleFigures({ ...options, host });
  return {
    options,
    host,
    figures: { join: quantile(joins, 0.5), ...idle },
    runtime: status.nodeInfo.containerRuntimeVersion,
  };
}

/**
 * Bursts of pods on all sides in turn, several rounds: a machine's speed changes within minutes, and who is measured in
 * its slow ones alone would look bad. Each figure is the median of its rounds.
 */
export async function bursts(sides: readonly Side[]): Promise<void> {
  const seen = new Map<Side, Record<number, PodsLine[]>>();
  for (const side of sides) {
    await pods(side, 1); // whatever is done once, such as making the bridge
    seen.set(side, { 1: [], 10: [], 40: [] });
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const count of [1, 10, 40]) for (const side of sides) seen.get(side)?.[count]?.push(await pods(side, count));
  for (const [side, lines] of seen) {
    const median = (count: number, of: (line: PodsLine) => number) => quantile((lines[count] ?? []).map(of), 0.5);
    Object.assign(side.figures, {
      pod1: median(1, (line) => line.readyMs.p50),
      pods10: median(10, (line) => line.readyMs.p50),
      pods10max: median(10, (line) => line.readyMs.max),
      pods40: median(40, (line) => line.readyMs.p50),
      pods40max: median(40, (line) => line.readyMs.max),
      gone10: median(10, (line) => line.goneMs.p50),
      gone40: median(40, (line) => line.goneMs.p50),
    } satisfies Figures);
  }
}

/** What is left after the bursts, and the crowd if it is asked for. */
export async function finish({ options, host, figures }: Side): Promise<void> {
  await sleep(IDLE_SETTLE_MS);
  const after = agentProcesses(host).map(memoryOf);
  Object.assign(figures, {
    rssAfter: total(after, 'rss'),
    pssAfter: total(after, 'pss'),
    peak: total(after, 'peak'),
    ...(options.crowd ? await crowdFigures({ ...options, host }) : {}),
  } satisfies Figures);
  await retire(options.cluster, host);
}

async function pods({ options: { cluster, say }, host }: Side, count: number): Promise<PodsLine> {
  const line = await bench<PodsLine>(cluster, 'pods.ts', [host.name, String(count)]);
  say(`${count} pod(s): Ready ${line.readyMs.p50}/${line.readyMs.max} ms, gone ${line.goneMs.p50} ms`);
  await sleep(SETTLE_MS);
  return line;
}

async function joinTime(cluster: Cluster, contender: Contender, host: LabHost): Promise<number> {
  const line = await bench<{ readyMs: number }>(cluster, 'join.ts', [host.name, '--', ...contender.argv(host)], {
    LOG: join(cluster.lab.dir, `agent-${host.name}.log`),
  });
  return line.readyMs;
}

async function idleFigures(options: MeasureOptions & { host: LabHost }): Promise<Figures> {
  const { cluster, host, idleSeconds, say } = options;
  const name = `idle-${host.name}`;
  await cluster.api.create(PODS, podOf(name, { node: host.name }));
  await cluster.api.until<PodView>('the idle pod is ready', `${PODS}/${name}`, isReady);
  await sleep(IDLE_SETTLE_MS);
  const pids = agentProcesses(host);
  say(`idle, ${idleSeconds} s: ${pids.map(commandOf).join(', ').slice(0, 300)}`);
  const tool = (file: string) => [process.execPath, join(import.meta.dirname, '..', file)];
  const timeoutMs = (idleSeconds + 30) * 1000;
  const [processes, wire] = await Promise.all([
    run([...tool('footprint.ts'), String(idleSeconds), ...pids.map(String)], { timeoutMs }),
    run(cluster.lab.network.inside(host.name, [...tool('wire.ts'), 'eth0', String(idleSeconds)]), { timeoutMs }),
  ]);
  const costs = processes
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<'rss' | 'pss' | 'anonymous' | 'cpu' | 'written', number>);
  await cluster.api.delete(`${PODS}/${name}?gracePeriodSeconds=0`);
  return {
    rss: total(costs, 'rss'),
    pss: total(costs, 'pss'),
    anonymous: total(costs, 'anonymous'),
    cpu: total(costs, 'cpu'),
    written: total(costs, 'written'),
    wire: (JSON.parse(wire) as { total: number }).total / 1000,
  };
}

async function crowdFigures({ cluster, host, idleSeconds, say }: MeasureOptions & { host: LabHost }): Promise<Figures> {
  const { changeMs } = await bench<{ changeMs: Spread }>(cluster, 'change.ts', [host.name, '5']);
  say(`a ConfigMap's change is seen after ${changeMs.p50}/${changeMs.max} ms`);
  const pids = agentProcesses(host).map(String);
  const crowd = await bench<PodsLine & Record<'rss' | 'pss' | 'cpu' | 'written', number>>(cluster, 'crowd.ts', [
    host.name,
    '105',
    '20',
    String(idleSeconds),
    ...pids,
  ]);
  say(`105 pods: Ready ${crowd.readyMs.p50}/${crowd.readyMs.max} ms, gone ${crowd.goneMs.p50} ms`);
  return {
    pods105: crowd.readyMs.p50,
    pods105max: crowd.readyMs.max,
    gone105: crowd.goneMs.p50,
    crowdPss: crowd.pss,
    crowdRss: crowd.rss,
    crowdCpu: crowd.cpu,
    crowdWritten: crowd.written,
    change: changeMs.p50,
    changeMax: changeMs.max,
  };
}

function total<K extends string>(costs: readonly Readonly<Record<K, number>>[], key: K): number {
  return costs.reduce((sum, cost) => sum + cost[key], 0);
}

/** Everything on a host that the agent brought, save what belongs to single pods: shims and containers. */
function agentProcesses(host: LabHost): number[] {
  const init = Number(readFileSync(join(host.disk, 'init.pid'), 'utf8'));
  const space = (pid: number | string) => readlinkSync(`/proc/${pid}/ns/pid`);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        if (pid === init || space(pid) !== space(init)) return false;
        const command = commandOf(pid);
        return command !== '' && !/containerd-shim|^sleep 1000000$/.test(command);
      } catch {
        return false; // ended meanwhile
      }
    });
}

/** Runs a bench in the server's network; its answer is one JSON line. */
async function bench<T>(
  cluster: Cluster,
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<T> {
  const tool = [process.execPath, join(import.meta.dirname, '..', file), cluster.server.kubeconfig, ...args];
  const named = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  const output = await run(cluster.lab.network.inside('srv', ['env', ...named, ...tool]), { timeoutMs: 600_000 });
  return JSON.parse(output) as T;
}

async function retire(cluster: Cluster, host: LabHost): Promise<void> {
  await host.powerCut();
  await cluster.api.delete(`/api/v1/nodes/${host.name}`).catch(() => {});
}
