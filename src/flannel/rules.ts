import { type Cidr, type Family, formatCidr } from '../core/index.ts';
import type { IptablesTable, NftTable, SavedRules } from '../host/index.ts';

/** One rule as data, rendered for either rule system. */
interface Rule {
  /** kube-proxy's "to be masqueraded" mark. */
  marked?: boolean;
  src?: string;
  notSrc?: string;
  dst?: string;
  notDst?: string;
  verdict: 'return' | 'masquerade' | 'accept';
}

export interface RulesQuestion {
  family: Family;
  /** The own subnet. */
  subnet: Cidr;
  /** The cluster's network of that family. */
  network: Cidr;
  masquerade: boolean;
  randomFully: boolean;
}

const MASQ = 'flanneld masq';
const FORWARD = 'flanneld forward';
const NFT_TABLE = 'k3s-agent-flannel';

/**
 * Order as in flannel pkg/trafficmngr: what kube-proxy marked is its to masquerade; pod to pod keeps its source; the
 * rest of what pods send leaves with the node's address; what comes from outside to other nodes' pods gets an address
 * that they can answer.
 */
function masqueradeRules({ family, subnet, network }: RulesQuestion): Rule[] {
  const [P, N] = [formatCidr(subnet), formatCidr(network)];
  return [
    { marked: true, verdict: 'return' },
    { src: P, dst: N, verdict: 'return' },
    { src: N, dst: P, verdict: 'return' },
    { notSrc: N, dst: P, verdict: 'return' },
    { src: N, notDst: family === 4 ? '224.0.0.0/4' : 'ff00::/8', verdict: 'masquerade' },
    { notSrc: N, dst: N, verdict: 'masquerade' },
  ];
}

function forwardRules({ network }: RulesQuestion): Rule[] {
  const N = formatCidr(network);
  return [
    { src: N, verdict: 'accept' },
    { dst: N, verdict: 'accept' },
  ];
}

/** The original's chains; a family without masquerading keeps an empty nat chain so that old rules vanish. */
export function iptablesTables(question: RulesQuestion): IptablesTable[] {
  const render = (rules: Rule[], comment: string) =>
    rules.map((rule) => iptablesRule(rule, comment, question.randomFully));
  return [
    {
      table: 'nat',
      chains: { 'FLANNEL-POSTRTG': question.masquerade ? render(masqueradeRules(question), MASQ) : [] },
      jumps: [{ chain: 'POSTROUTING', rule: `-m comment --comment "${MASQ}" -j FLANNEL-POSTRTG` }],
      obsolete: (chain, rule) => chain === 'POSTROUTING' && isOldRule(rule, MASQ),
    },
    {
      table: 'filter',
      chains: { 'FLANNEL-FWD': render(forwardRules(question), FORWARD) },
      jumps: [{ chain: 'FORWARD', rule: `-m comment --comment "${FORWARD}" -j FLANNEL-FWD` }],
      obsolete: (chain, rule) => chain === 'FORWARD' && isOldRule(rule, FORWARD),
    },
  ];
}

/** Old flannel put its rules straight into the built-in chains. */
function isOldRule(rule: string, comment: string): boolean {
  return rule.includes(`--comment "${comment}"`) && !/-j FLANNEL-(POSTRTG|FWD)$/.test(rule);
}

function iptablesRule(rule: Rule, comment: string, randomFully: boolean): string {
  const target = {
    return: 'RETURN',
    accept: 'ACCEPT',
    masquerade: `MASQUERADE${randomFully ? ' --random-fully' : ''}`,
  }[rule.verdict];
  return [
    rule.src && `-s ${rule.src}`,
    rule.notSrc && `! -s ${rule.notSrc}`,
    rule.dst && `-d ${rule.dst}`,
    rule.notDst && `! -d ${rule.notDst}`,
    rule.marked && '-m mark --mark 0x4000/0x4000',
    `-m comment --comment "${comment}"`,
    `-j ${target}`,
  ]
    .filter(Boolean)
    .join(' ');
}

/**
 * The own nft table, for hosts without iptables. No forward chain: an accept in one base chain can not lift another
 * chain's drop, so it would be without effect.
 */
export function nftTable(question: RulesQuestion): NftTable {
  const ip = question.family === 4 ? 'ip' : 'ip6';
  const line = (rule: Rule) =>
    [
      rule.marked && 'meta mark & 0x4000 == 0x4000',
      rule.src && `${ip} saddr ${rule.src}`,
      rule.notSrc && `${ip} saddr != ${rule.notSrc}`,
      rule.dst && `${ip} daddr ${rule.dst}`,
      rule.notDst && `${ip} daddr != ${rule.notDst}`,
      rule.verdict === 'masquerade' ? 'masquerade fully-random' : rule.verdict,
    ]
      .filter(Boolean)
      .join(' ');
  const rules = masqueradeRules(question).map((rule) => `    ${line(rule)}`);
  return {
    family: ip,
    name: NFT_TABLE,
    body: question.masquerade
      ? [
          '  chain postrouting {',
          '    type nat hook postrouting priority srcnat; policy accept;',
          ...rules,
          '  }',
        ].join('\n')
      : undefined,
  };
}

/** The iptables-restore input that removes flannel's chains from tables that are not in use; undefined if none. */
export function leftoverRemoval(saved: SavedRules): string | undefined {
  const parts: string[] = [];
  for (const [table, chains] of saved) {
    const own = [...chains.keys()].filter((chain) => /^FLANNEL-(POSTRTG|FWD)$/.test(chain));
    const rules = [...chains].flatMap(([chain, list]) =>
      own.includes(chain)
        ? []
        : list
            .filter(
              (rule) => /-j FLANNEL-(POSTRTG|FWD)$/.test(rule) || /--comment "flanneld (masq|forward)"/.test(rule),
            )
            .map((rule) => `-D ${chain} ${rule}`),
    );
    if (own.length + rules.length === 0) continue;
    parts.push(`*${table}`, ...rules, ...own.map((c) => `-F ${c}`), ...own.map((c) => `-X ${c}`), 'COMMIT');
  }
  return parts.length === 0 ? undefined : `${parts.join('\n')}\n`;
}
