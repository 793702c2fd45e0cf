import type { Cidr, Family, Logger } from '../core/index.ts';
import { createIptables, createNft, type Exec, type NetfilterChoice, probeNetfilter } from '../host/index.ts';
import { iptablesTables, leftoverRemoval, nftTable, type RulesQuestion } from './rules.ts';

export interface FirewallQuestion {
  subnets: Partial<Record<Family, Cidr>>;
  networks: Partial<Record<Family, Cidr>>;
  ipv6Masq: boolean;
}

export interface Firewall {
  /** The host's rule system, once probed. */
  readonly choice: NetfilterChoice | undefined;
  /** Learns which rule system the host uses; done by ensure if not before. */
  probe(signal: AbortSignal): Promise<NetfilterChoice>;
  /** Puts masquerade and forward rules in place; one process a family when they are there. */
  ensure(question: FirewallQuestion, signal: AbortSignal): Promise<void>;
}

export interface FirewallOptions {
  exec: Exec;
  log: Logger;
}

export function createFirewall({ exec, log }: FirewallOptions): Firewall {
  let choice: NetfilterChoice | undefined;
  let probing: Promise<NetfilterChoice> | undefined;
  let tools: { iptables: ReturnType<typeof createIptables>; nft: ReturnType<typeof createNft> } | undefined;
  let cleaned = false;

  const probe = (signal: AbortSignal): Promise<NetfilterChoice> => {
    probing ??= probeNetfilter(exec, signal).then(
      (found) => {
        choice = found;
        tools = { iptables: createIptables(exec, found), nft: createNft(exec) };
        log.info('rule system chosen', { kind: found.kind, variant: found.variant, reason: found.reason });
        for (const warning of found.warnings) log.warn(warning);
        return found;
      },
      (error) => {
        probing = undefined; // iptables may be installed later
        throw error;
      },
    );
    return probing;
  };

  /** Chains of an earlier flannel in the tables that are not in use would masquerade for a network that is no more. */
  const clean = async (found: NetfilterChoice, families: readonly Family[], signal: AbortSignal) => {
    if (cleaned || found.leftoverInfix === undefined || tools === undefined) return;
    for (const family of families) {
      const input = leftoverRemoval(await tools.iptables.read(family, signal, found.leftoverInfix));
      if (input === undefined) continue;
      await tools.iptables.restore(family, input, signal, found.leftoverInfix);
      log.info('old flannel rules removed from the tables that are not in use', {
        program: `iptables${found.leftoverInfix}`,
      });
    }
    cleaned = true;
  };

  return {
    get choice() {
      return choice;
    },
    probe,
    async ensure({ subnets, networks, ipv6Masq }, signal) {
      const found = await probe(signal);
      if (tools === undefined) return;
      const families = ([4, 6] as const).filter((f) => subnets[f] !== undefined && networks[f] !== undefined);
      const errors: unknown[] = [];
      for (const family of families) {
        const question: RulesQuestion = {
          family,
          subnet: subnets[family] as Cidr,
          network: networks[family] as Cidr,
          masquerade: family === 4 || ipv6Masq,
          randomFully: found.randomFully,
        };
        try {
          if (found.kind === 'nft') await tools.nft.ensure(nftTable(question), signal);
          else await tools.iptables.ensure(family, iptablesTables(question), signal);
        } catch (error) {
          errors.push(error); // one family's missing module must not leave the other without rules
        }
      }
      await clean(found, families, signal).catch((error) => errors.push(error));
      if (errors.length > 0) throw errors[0];
    },
  };
}
