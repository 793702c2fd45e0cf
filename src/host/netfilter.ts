import { AgentError, type Family, isAbort } from '../core/index.ts';
import type { Exec } from './exec.ts';

export type IptablesVariant = 'nf_tables' | 'legacy';

/**
 * Where rules go on this host, decided once. Rules in tables that the host's other software does not use would not be
 * wrong but without effect: an accept in one rule system does not lift a drop in another.
 */
export interface NetfilterChoice {
  readonly kind: 'nft' | 'iptables';
  /** For iptables only. */
  readonly variant: IptablesVariant | undefined;
  /** Infix of the programs: `iptables${infix}-restore`; empty for the host's default ones. */
  readonly infix: '' | '-nft' | '-legacy';
  /** Infix of the other variant's programs, if it is installed and holds Kubernetes rules (leftovers). */
  readonly leftoverInfix: '-nft' | '-legacy' | undefined;
  readonly randomFully: boolean;
  /** iptables-restore knows `-w` since 1.6.2. */
  readonly waits: boolean;
  readonly reason: string;
  /** Things a person should know; empty on a clean host. */
  readonly warnings: readonly string[];
}

export interface SaveFacts {
  /** The program ran and the kernel knows this rule system. */
  usable: boolean;
  /** Rules and drop policies of other software. */
  foreign: number;
  /** Rules of Kubernetes, CNI plugins or flannel. */
  kubernetes: number;
}

export interface NetfilterFacts {
  /** Text of `iptables --version`; undefined if not installed. */
  version: string | undefined;
  legacy: SaveFacts;
  nfTables: SaveFacts;
  /** Text of `nft list chains`; undefined if nft is missing or the kernel lacks nf_tables. */
  nftChains: string | undefined;
}

/** Asks the host once (three to five short processes). Throws `NETFILTER_MISSING` with a remedy. */
export async function probeNetfilter(exec: Exec, signal?: AbortSignal): Promise<NetfilterChoice> {
  const options = { timeoutMs: 10_000, ...(signal ? { signal } : {}) };
  const [version, own, legacy] = await Promise.all([
    exec.run(['iptables', '--version'], options).then(
      (result) => result.stdout,
      () => undefined,
    ),
    saved(exec, ['iptables-save'], signal),
    saved(exec, ['iptables-legacy-save'], signal),
  ]);
  const facts =
    version?.includes('nf_tables') === true
      ? { version, legacy, nfTables: own }
      : { version, legacy: own, nfTables: await saved(exec, ['iptables-nft-save'], signal) };
  if (version !== undefined && (facts.legacy.usable || facts.nfTables.usable))
    return decideNetfilter({ ...facts, nftChains: undefined });
  const nftChains = await exec.run(['nft', 'list', 'chains'], options).then(
    (result) => result.stdout,
    (error) => {
      if (isAbort(error)) throw error;
      return undefined;
    },
  );
  return decideNetfilter({ ...facts, nftChains });
}

async function saved(exec: Exec, argv: string[], signal?: AbortSignal): Promise<SaveFacts> {
  try {
    return countRules((await exec.run(argv, { timeoutMs: 10_000, ...(signal ? { signal } : {}) })).stdout);
  } catch (error) {
    if (isAbort(error)) throw error;
    return { usable: false, foreign: 0, kubernetes: 0 };
  }
}

const KUBERNETES = /\b(FLANNEL|KUBE|CNI|CILIUM)-|flanneld|kube-router/;

export function countRules(text: string): SaveFacts {
  const facts = { usable: true, foreign: 0, kubernetes: 0 };
  for (const line of text.split('\n')) {
    if (line.startsWith('-A ')) facts[KUBERNETES.test(line) ? 'kubernetes' : 'foreign']++;
    else if (/^:\S+ DROP /.test(line)) facts.foreign++;
  }
  return facts;
}

/**
 * iptables wins where it is installed: docker, ufw and kube-proxy put their drops there, and only a rule in the same
 * chains can come before them. Its variant is the host's default one unless only the other holds the host's rules.
 */
export function decideNetfilter(facts: NetfilterFacts): NetfilterChoice {
  const { version, legacy, nfTables, nftChains } = facts;
  const [major = 0, minor = 0, patch = 0] = (/v(\d+)\.(\d+)\.(\d+)/.exec(version ?? '') ?? []).slice(1).map(Number);
  const modern = major > 1 || minor > 6 || (minor === 6 && patch >= 2);
  const base = { randomFully: modern, waits: modern, leftoverInfix: undefined, infix: '' as const, warnings: [] };
  if (version !== undefined && (legacy.usable || nfTables.usable)) {
    const own: IptablesVariant = version.includes('nf_tables') ? 'nf_tables' : 'legacy';
    const other: IptablesVariant = own === 'legacy' ? 'nf_tables' : 'legacy';
    const of = { legacy, nf_tables: nfTables };
    const variant =
      !of[own].usable || (of[other].usable && of[other].foreign > 0 && of[own].foreign === 0) ? other : own;
    const rest = variant === 'legacy' ? 'nf_tables' : 'legacy';
    const infixOf = { legacy: '-legacy', nf_tables: '-nft' } as const;
    return Object.freeze({
      ...base,
      kind: 'iptables',
      variant,
      infix: variant === own ? '' : infixOf[variant],
      leftoverInfix: of[rest].usable && of[rest].kubernetes > 0 ? infixOf[rest] : undefined,
      reason:
        variant === own
          ? `iptables ${major}.${minor}.${patch} (${own}) is the host's`
          : of[own].usable
            ? `the host's rules are in the ${variant} tables, although iptables stands for ${own}`
            : `the kernel does not support the ${own} tables of the host's iptables`,
      warnings:
        of[variant].foreign > 0 && of[rest].foreign > 0
          ? [
              'the host has firewall rules in both the legacy and the nf_tables tables; drops of one can not be lifted by the other',
            ]
          : [],
    });
  }
  if (nftChains !== undefined) {
    const drops = /hook forward[^\n]*policy drop/.test(nftChains);
    return Object.freeze({
      ...base,
      kind: 'nft',
      variant: undefined,
      randomFully: true,
      reason: version === undefined ? 'iptables is not installed, nft is' : 'iptables does not work here, nft does',
      warnings: drops
        ? [
            'a firewall on this host drops forwarded packets by default; pods reach other hosts only if it accepts their networks',
          ]
        : [],
    });
  }
  throw new AgentError({
    code: 'NETFILTER_MISSING',
    message:
      version === undefined
        ? 'neither iptables nor a working nft is installed'
        : 'iptables is installed, but this kernel supports neither its nf_tables nor its legacy tables',
    remedy:
      version === undefined
        ? 'Install iptables (apt install iptables) or nftables.'
        : 'Boot a kernel with nf_tables or ip_tables (on a Jetson: the stock L4T kernel and iptables-legacy).',
  });
}

/** `iptables-save` or `ip6tables-legacy-restore`, as the choice says. */
export function iptablesProgram(family: Family, infix: string, verb: 'save' | 'restore'): string {
  return `${family === 4 ? 'iptables' : 'ip6tables'}${infix}-${verb}`;
}
