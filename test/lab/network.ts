import { abandonedPrefix, labPrefix, namedNamespaces } from './names.ts';
import { run, tryRun } from './run.ts';

/** Hosts on one switch: `srv`, `n1`, `n2`, … in 10.99.0.0/24. */
export interface LabNetwork {
  prefix: string;
  /** Names without the prefix. */
  hosts: readonly string[];
  /** Address of a host: srv is .1, n1 is .2, … */
  address(host: string): string;
  /** Name of the network namespace. */
  namespace(host: string): string;
  /** Pulls the cable, and plugs it in again. */
  cut(host: string): Promise<void>;
  mend(host: string): Promise<void>;
  /** Gives the host another address in place of the old one. */
  setAddress(host: string, address: string): Promise<void>;
  /** argv that runs a program in the host's network, with the machine's files. */
  inside(host: string, argv: readonly string[]): string[];
  remove(): Promise<void>;
}

/** Builds a switch with `count` hosts and one for the server. Needs root. */
export async function createNetwork(count: number): Promise<LabNetwork> {
  const prefix = labPrefix();
  const hosts = ['srv', ...Array.from({ length: count }, (_, i) => `n${i + 1}`)];
  const addresses = new Map(hosts.map((host, i) => [host, `10.99.0.${i + 1}`]));
  const namespace = (host: string) => `${prefix}-${host}`;
  const port = (host: string) => `${prefix}${host}`.slice(0, 15);
  const network: LabNetwork = {
    prefix,
    hosts,
    namespace,
    address: (host) => addresses.get(host) ?? '',
    cut: async (host) => void (await run(['ip', '-n', namespace('sw'), 'link', 'set', port(host), 'down'])),
    mend: async (host) => void (await run(['ip', '-n', namespace('sw'), 'link', 'set', port(host), 'up'])),
    async setAddress(host, address) {
      const old = addresses.get(host);
      addresses.set(host, address);
      const steps = [
        `addr del ${old}/24 dev eth0`,
        `addr add ${address}/24 dev eth0`,
        'route replace default via 10.99.0.254',
      ];
      await run(['ip', '-n', namespace(host), '-batch', '-'], { input: steps.join('\n') });
    },
    inside: (host, argv) => ['nsenter', `--net=/run/netns/${namespace(host)}`, '--', ...argv],
    async remove() {
      for (const name of ['sw', ...hosts]) await removeNamespace(namespace(name));
    },
  };
  try {
    await run(['ip', '-batch', '-'], {
      input: ['sw', ...hosts].map((host) => `netns add ${namespace(host)}`).join('\n'),
    });
    await run(['ip', '-n', namespace('sw'), '-batch', '-'], {
      input: ['link set lo up', 'link add br0 type bridge', 'link set br0 up', 'addr add 10.99.0.254/24 dev br0'].join(
        '\n',
      ),
    });
    await run(['ip', '-batch', '-'], {
      input: hosts
        .map((h) => `link add ${port(h)} netns ${namespace('sw')} type veth peer name eth0 netns ${namespace(h)}`)
        .join('\n'),
    });
    await run(['ip', '-n', namespace('sw'), '-batch', '-'], {
      input: hosts.map((h) => `link set ${port(h)} master br0 up`).join('\n'),
    });
    for (const host of hosts) {
      const steps = [
        'link set lo up',
        `addr add ${network.address(host)}/24 dev eth0`,
        'link set eth0 up',
        'route add default via 10.99.0.254',
      ];
      await run(['ip', '-n', namespace(host), '-batch', '-'], { input: steps.join('\n') });
      await run(network.inside(host, ['sysctl', '-qw', 'net.ipv4.ip_forward=1']));
    }
    return network;
  } catch (error) {
    await network.remove();
    throw error;
  }
}

async function removeNamespace(name: string): Promise<void> {
  // Links of a namespace that something still holds open would live on.
  for (const link of ['cni0', 'flannel.1', 'flannel-v6.1', 'eth0'])
    await tryRun(['ip', '-n', name, 'link', 'del', link]);
  await tryRun(['ip', 'netns', 'del', name]);
}

/** Removes the networks of runs that ended without doing so; returns their prefixes. */
export async function sweepNetworks(): Promise<string[]> {
  const prefixes = new Set<string>();
  for (const name of namedNamespaces()) {
    const prefix = abandonedPrefix(name);
    if (prefix === undefined) continue;
    prefixes.add(prefix);
    for (const pid of ((await tryRun(['ip', 'netns', 'pids', name])) ?? '').split('\n').filter(Boolean))
      await tryRun(['kill', '-9', pid]);
    await removeNamespace(name);
  }
  return [...prefixes];
}
