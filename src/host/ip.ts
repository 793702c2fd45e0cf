import { AgentError, type Family, normalizeAddress } from '../core/index.ts';
import type { Exec } from './exec.ts';

export interface LinkAddress {
  family: Family;
  address: string;
  prefix: number;
  scope: string;
  /** The interface's broadcast or peer side plays no part here; these flags rank an address. */
  dynamic: boolean;
  temporary: boolean;
  deprecated: boolean;
  dadFailed: boolean;
}

export interface VxlanInfo {
  id: number;
  port: number;
  local: string | undefined;
  /** Name of the interface the tunnel's packets leave by. */
  link: string | undefined;
  learning: boolean;
  gbp: boolean;
}

export interface Link {
  index: number;
  name: string;
  /** `vxlan`, `bridge`, `veth`, …; undefined for hardware. */
  kind: string | undefined;
  mtu: number;
  mac: string | undefined;
  up: boolean;
  master: string | undefined;
  vxlan: VxlanInfo | undefined;
  addresses: LinkAddress[];
}

export interface Route {
  family: Family;
  /** Always with prefix length: `0.0.0.0/0` is the default route. */
  dst: string;
  gateway: string | undefined;
  dev: string;
  protocol: string;
  metric: number;
  onlink: boolean;
  /** `dead` and `linkdown` routes carry no packets. */
  dead: boolean;
}

export interface Neighbour {
  dev: string;
  address: string;
  mac: string;
}

export interface FdbEntry {
  dev: string;
  mac: string;
  dst: string;
}

/** What the kernel holds, as far as the agent cares: main routing table, permanent neighbours, FDB of the asked devices. */
export interface NetworkState {
  links: Map<string, Link>;
  routes: Route[];
  neighbours: Neighbour[];
  fdb: FdbEntry[];
}

export interface ReadOptions {
  families: readonly Family[];
  /** VXLAN devices whose forwarding entries are wanted; missing ones are left out. */
  fdbOf?: readonly string[];
}

/** One refused line of a batch: its index, its text and what the kernel said. */
export interface BatchFailure {
  index: number;
  command: string;
  message: string;
}

/**
 * ip(8) and bridge(8) of iproute2 5.x or newer: a few processes for many reads or writes, because a process start costs
 * a board 15 to 50 ms. Errors: `IP_TOOL` (missing or busybox, with remedy), `IP_OUTPUT`, and those of Exec.
 */
export interface Ip {
  read(options: ReadOptions, signal?: AbortSignal): Promise<NetworkState>;
  /** Runs every line even if one fails; the failed ones are returned, in order. */
  apply(program: 'ip' | 'bridge', commands: readonly string[], signal?: AbortSignal): Promise<BatchFailure[]>;
  /** Throws `IP_TOOL` if the installed ip is not iproute2's. */
  check(signal?: AbortSignal): Promise<void>;
}

export function createIp(exec: Exec): Ip {
  const read = async (argv: string[], lines: string[], signal?: AbortSignal) => {
    const { stdout, failures } = await batch(exec, { argv, lines, ...(signal ? { signal } : {}) });
    const outputs = jsonDocuments(stdout, argv[0] ?? 'ip');
    const failed = new Set(failures.map((f) => f.index));
    if (outputs.length !== lines.length - failed.size)
      throw new AgentError({ code: 'IP_OUTPUT', message: `${argv.join(' ')} answered with an unknown shape` });
    return lines.map((_, i) => (failed.has(i) ? [] : (outputs.shift() as Raw[])));
  };
  return {
    async read({ families, fdbOf = [] }, signal) {
      const wants6 = families.includes(6);
      const [[addr = [], route4 = [], neigh = []], [route6 = []], fdbs] = await Promise.all([
        read(['ip', '-details', '-json'], ['addr show', 'route show', 'neigh show nud permanent'], signal),
        // A batch has one family; asking for IPv6 routes needs its own process.
        wants6 ? read(['ip', '-6', '-details', '-json'], ['route show'], signal) : [[]],
        fdbOf.length > 0
          ? read(
              ['bridge', '-json'],
              fdbOf.map((dev) => `fdb show dev ${dev}`),
              signal,
            )
          : [],
      ]);
      return {
        links: new Map(addr.map(toLink).map((link) => [link.name, link])),
        routes: [...route4.flatMap((r) => toRoute(r, 4)), ...route6.flatMap((r) => toRoute(r, 6))],
        neighbours: neigh.flatMap(toNeighbour),
        fdb: fdbs.flatMap((entries, i) => entries.flatMap((raw) => toFdb(raw, fdbOf[i] as string))),
      };
    },
    async apply(program, commands, signal) {
      if (commands.length === 0) return [];
      return (await batch(exec, { argv: [program], lines: commands, ...(signal ? { signal } : {}) })).failures;
    },
    async check(signal) {
      let said = '';
      try {
        said = (await exec.run(['ip', '-V'], { okCodes: [1, 255], ...(signal ? { signal } : {}) })).stdout;
      } catch (error) {
        throw toolMissing('ip', error);
      }
      if (!said.includes('iproute2')) throw toolMissing('ip');
    },
  };
}

function toolMissing(program: string, cause?: unknown): AgentError {
  return new AgentError({
    code: 'IP_TOOL',
    message: `${program} of iproute2 is needed, but ${cause === undefined ? 'another one (busybox?) is installed' : 'it does not run'}`,
    remedy: 'Install iproute2: apt install iproute2, apk add iproute2 or dnf install iproute.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** A folder of CNI plugins on PATH, as k3s has it first, holds another program named bridge. */
const SYSTEM_FIRST = `/usr/sbin:/sbin:/usr/bin:/bin:${process.env.PATH ?? ''}`;

async function batch(
  exec: Exec,
  options: { argv: readonly string[]; lines: readonly string[]; signal?: AbortSignal },
): Promise<{ stdout: string; failures: BatchFailure[] }> {
  const { argv, lines, signal } = options;
  try {
    const result = await exec.run([...argv, '-force', '-batch', '-'], {
      input: `${lines.join('\n')}\n`,
      okCodes: [1],
      env: { PATH: SYSTEM_FIRST },
      ...(signal ? { signal } : {}),
    });
    return { stdout: result.stdout, failures: batchFailures(result.stderr, lines) };
  } catch (error) {
    if ((error as AgentError).code === 'EXEC_NOT_FOUND') throw toolMissing(argv[0] ?? 'ip', error);
    throw error;
  }
}

/** Reads `… message … / Command failed -:LINE` pairs, as iproute2 prints them for a forced batch. */
export function batchFailures(stderr: string, lines: readonly string[]): BatchFailure[] {
  const out: BatchFailure[] = [];
  let said: string[] = [];
  for (const line of stderr.split('\n')) {
    const failed = /^Command failed -:(\d+)/.exec(line);
    if (failed) {
      const index = Number(failed[1]) - 1;
      out.push({ index, command: lines[index] ?? '', message: said.join(' ').slice(0, 300) || 'refused' });
      said = [];
    } else if (line.trim() !== '') said.push(line.trim());
  }
  return out;
}

type Raw = Readonly<Record<string, unknown>>;

/** A batch prints one array a command, each on lines of its own. */
function jsonDocuments(text: string, program: string): Raw[][] {
  try {
    return JSON.parse(`[${text.trim().replace(/\]\s*\n\s*\[/g, '],[')}]`) as Raw[][];
  } catch (cause) {
    throw new AgentError({
      code: 'IP_OUTPUT',
      message: `${program} did not answer in JSON`,
      remedy: 'iproute2 5.0 or newer is needed.',
      cause,
    });
  }
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
const flags = (raw: Raw): readonly unknown[] => (Array.isArray(raw.flags) ? raw.flags : []);

function toLink(raw: Raw): Link {
  const info = (raw.linkinfo ?? {}) as { info_kind?: unknown; info_data?: Raw };
  const kind = text(info.info_kind);
  const data = info.info_data ?? {};
  return {
    index: Number(raw.ifindex),
    name: String(raw.ifname),
    kind,
    mtu: Number(raw.mtu ?? 0),
    mac: text(raw.address)?.toLowerCase(),
    up: flags(raw).includes('UP'),
    master: text(raw.master),
    vxlan:
      kind === 'vxlan'
        ? {
            id: Number(data.id),
            port: Number(data.port),
            local: text(data.local) ?? text(data.local6),
            link: text(data.link),
            learning: data.learning !== false,
            gbp: data.gbp === true,
          }
        : undefined,
    addresses: (Array.isArray(raw.addr_info) ? (raw.addr_info as Raw[]) : []).flatMap(toAddress),
  };
}

function toAddress(raw: Raw): LinkAddress[] {
  const family = raw.family === 'inet' ? 4 : raw.family === 'inet6' ? 6 : undefined;
  const address = text(raw.local);
  if (family === undefined || address === undefined) return [];
  return [
    {
      family,
      address: normalizeAddress(address),
      prefix: Number(raw.prefixlen),
      scope: String(raw.scope),
      dynamic: raw.dynamic === true,
      temporary: raw.temporary === true,
      deprecated: raw.deprecated === true,
      dadFailed: raw.dadfailed === true,
    },
  ];
}

function toRoute(raw: Raw, family: Family): Route[] {
  const dst = text(raw.dst);
  const hops = Array.isArray(raw.nexthops) ? (raw.nexthops as Raw[]) : [];
  const dev = text(raw.dev) ?? text(hops[0]?.dev);
  if (dst === undefined || dev === undefined || (raw.type !== undefined && raw.type !== 'unicast')) return [];
  const set = flags(raw);
  return [
    {
      family,
      dst: withPrefix(dst, family),
      gateway: gatewayOf(raw) ?? gatewayOf(hops[0] ?? {}),
      dev,
      protocol: String(raw.protocol ?? 'boot'),
      metric: Number(raw.metric ?? 0),
      onlink: set.includes('onlink'),
      dead: set.includes('dead') || set.includes('linkdown'),
    },
  ];
}

function gatewayOf(raw: Raw): string | undefined {
  const address = text(raw.gateway) ?? text((raw.via as Raw | undefined)?.host);
  return address === undefined ? undefined : normalizeAddress(address);
}

function withPrefix(dst: string, family: Family): string {
  if (dst === 'default') return family === 4 ? '0.0.0.0/0' : '::/0';
  const [address = '', bits = family === 4 ? '32' : '128'] = dst.split('/');
  return `${normalizeAddress(address)}/${bits}`;
}

function toNeighbour(raw: Raw): Neighbour[] {
  const [dev, address, mac] = [text(raw.dev), text(raw.dst), text(raw.lladdr)];
  if (dev === undefined || address === undefined || mac === undefined) return [];
  return [{ dev, address: normalizeAddress(address), mac: mac.toLowerCase() }];
}

function toFdb(raw: Raw, dev: string): FdbEntry[] {
  const [mac, dst] = [text(raw.mac), text(raw.dst)];
  return mac === undefined || dst === undefined ? [] : [{ dev, mac: mac.toLowerCase(), dst: normalizeAddress(dst) }];
}
