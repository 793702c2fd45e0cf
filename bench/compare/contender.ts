import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { agentCommand } from '../../test/e2e/support/agent.ts';
import type { Cluster } from '../../test/e2e/support/cluster.ts';
import { type LabHost, run } from '../../test/lab/index.ts';

/** An agent that is measured. */
export interface Contender {
  name: string;
  /** Lays down on a fresh host what the agent wants to find there. */
  prepare(host: LabHost): void;
  /** argv that runs the agent on a host, in the foreground. */
  argv(host: LabHost): string[];
}

/** A copy of the built executable, made as that of the original is: what lies in memory of a file depends on who wrote it. */
export async function ours(cluster: Cluster): Promise<Contender> {
  const [built, ...rest] = agentCommand() as [string, ...string[]];
  const program = rest.length === 0 ? [join(cluster.lab.dir, 'k3s-agent')] : [built, ...rest];
  if (rest.length === 0) await run(['cp', built, program[0] as string]);
  return {
    name: 'k3s-agent',
    prepare: (host) => layImages(cluster, host),
    argv: (host) => host.inside([...program, ...joinArguments(cluster, host)]),
  };
}

/** Flags that both understand. */
export function joinArguments(cluster: Cluster, host: LabHost): string[] {
  const { url, token } = cluster.server;
  return ['--server', url, '--token', token(), '--node-name', host.name];
}

/** Both import the same archives: nothing is pulled. */
export function layImages(cluster: Cluster, host: LabHost): void {
  const images = join(host.disk, 'var/lib/rancher/k3s/agent/images');
  mkdirSync(images, { recursive: true });
  cpSync(join(cluster.lab.dir, 'images'), images, { recursive: true });
}
