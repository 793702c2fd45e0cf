import type { Family } from '../core/index.ts';
import type { Exec } from './exec.ts';
import { iptablesProgram, type NetfilterChoice } from './netfilter.ts';

/** What one table must hold. Rules are written exactly as iptables-save prints them, without `-A CHAIN`. */
export interface IptablesTable {
  table: string;
  /** Own chains with all their rules, in order; other rules in them are removed. */
  chains: Readonly<Record<string, readonly string[]>>;
  /** Rules that must be in a built-in chain, once each; appended if missing. */
  jumps: readonly { chain: string; rule: string }[];
  /** True for a rule of a built-in chain that must go (leftovers of an older version). */
  obsolete?: (chain: string, rule: string) => boolean;
}

/** Table → chain → rules without `-A CHAIN`. */
export type SavedRules = Map<string, Map<string, string[]>>;

export function parseSaved(text: string): SavedRules {
  const out: SavedRules = new Map();
  let table = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      table = new Map();
      out.set(line.slice(1).trim(), table);
    } else if (line.startsWith(':')) table.set(line.slice(1).split(' ')[0] as string, []);
    else if (line.startsWith('-A ')) {
      const [, chain = '', rule = ''] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
      const rules = table.get(chain);
      if (rules) rules.push(rule.trim());
      else table.set(chain, [rule.trim()]);
    }
  }
  return out;
}

/**
 * The iptables-restore --noflush input that makes the tables hold what is wanted, touching nothing else; undefined if
 * they do. `accepted` tells that a chain's odd-looking rules are what the tool makes of the wanted ones.
 */
export function planIptables(
  saved: SavedRules,
  wanted: readonly IptablesTable[],
  accepted: (chain: string, rules: readonly string[]) => boolean = () => false,
): string | undefined {
  const parts: string[] = [];
  for (const { table, chains, jumps, obsolete = () => false } of wanted) {
    const have = saved.get(table) ?? new Map<string, string[]>();
    const head: string[] = [];
    const body: string[] = [];
    for (const [chain, rules] of Object.entries(chains)) {
      const now = have.get(chain);
      if (now !== undefined && (sameRules(now, rules) || accepted(chain, now))) continue;
      head.push(`:${chain} - [0:0]`);
      body.push(...rules.map((rule) => `-A ${chain} ${rule}`));
    }
    for (const [chain, rules] of have)
      if (!(chain in chains)) for (const rule of rules) if (obsolete(chain, rule)) body.push(`-D ${chain} ${rule}`);
    for (const { chain, rule } of jumps) {
      const times = (have.get(chain) ?? []).filter((now) => now === rule).length;
      for (let i = 1; i < times; i++) body.push(`-D ${chain} ${rule}`);
      if (times === 0) body.push(`-A ${chain} ${rule}`);
    }
    if (head.length + body.length > 0) parts.push(`*${table}`, ...head, ...body, 'COMMIT');
  }
  return parts.length === 0 ? undefined : `${parts.join('\n')}\n`;
}

const sameRules = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((r, i) => r === b[i]);

/** Keeps own chains in the host's iptables. One process to look, one more only if something must change. */
export interface Iptables {
  /** True if something was written. Errors of Exec are thrown; the tables are then as before (each COMMIT is atomic). */
  ensure(family: Family, wanted: readonly IptablesTable[], signal?: AbortSignal): Promise<boolean>;
  read(family: Family, signal?: AbortSignal, infix?: string): Promise<SavedRules>;
  restore(family: Family, input: string, signal?: AbortSignal, infix?: string): Promise<void>;
}

export function createIptables(exec: Exec, choice: NetfilterChoice): Iptables {
  /** Chain → the rules as the tool printed them right after they were written from the same wanted text. */
  const printed = new Map<string, { wanted: string; now: string }>();
  const read = async (family: Family, signal?: AbortSignal, infix: string = choice.infix) =>
    parseSaved((await exec.run([iptablesProgram(family, infix, 'save')], signal ? { signal } : {})).stdout);
  const restore = async (family: Family, input: string, signal?: AbortSignal, infix: string = choice.infix) => {
    const argv = [iptablesProgram(family, infix, 'restore'), ...(choice.waits ? ['-w', '10'] : []), '--noflush'];
    await exec.run(argv, { input, ...(signal ? { signal } : {}) });
  };
  return {
    read,
    restore,
    async ensure(family, wanted, signal) {
      const key = (table: string, chain: string) => `${family} ${table} ${chain}`;
      const wantedOf = new Map<string, string>();
      for (const { table, chains } of wanted)
        for (const [chain, rules] of Object.entries(chains)) wantedOf.set(key(table, chain), rules.join('\n'));
      const accepts = (table: string) => (chain: string, now: readonly string[]) => {
        const memory = printed.get(key(table, chain));
        return (
          memory !== undefined && memory.wanted === wantedOf.get(key(table, chain)) && memory.now === now.join('\n')
        );
      };
      const saved = await read(family, signal);
      const input = wanted.map((table) => planIptables(saved, [table], accepts(table.table)) ?? '').join('');
      if (input === '') return false;
      await restore(family, input, signal);
      const after = await read(family, signal);
      for (const { table, chains } of wanted)
        for (const chain of Object.keys(chains))
          printed.set(key(table, chain), {
            wanted: wantedOf.get(key(table, chain)) ?? '',
            now: (after.get(table)?.get(chain) ?? []).join('\n'),
          });
      return true;
    },
  };
}
