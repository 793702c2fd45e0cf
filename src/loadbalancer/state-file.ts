import { splitHostPort } from '../core/index.ts';
import { readText, writeIfChanged } from '../host/index.ts';

/** k3s' own file (pkg/agent/loadbalancer/config.go), so that changing between it and this agent keeps the list. */
export interface LoadBalancerState {
  /** `https://host:port` of the default server. */
  serverUrl: string;
  /** `host:port` of the listed servers. */
  addresses: readonly string[];
}

/** The file's content; undefined if there is none or it is not what was written (a power cut, an editor). */
export async function readStateFile(path: string): Promise<LoadBalancerState | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text) as { ServerURL?: unknown; ServerAddresses?: unknown } | null;
    const addresses = value?.ServerAddresses ?? [];
    if (typeof value?.ServerURL !== 'string' || !Array.isArray(addresses)) return undefined;
    return {
      serverUrl: value.ServerURL,
      addresses: addresses.filter((a): a is string => typeof a === 'string' && splitHostPort(a) !== undefined),
    };
  } catch {
    return undefined;
  }
}

/** Writes the file if its content changes; addresses are sorted, so that their order alone wears no flash. */
export function writeStateFile(path: string, state: LoadBalancerState): Promise<boolean> {
  const value = { ServerURL: state.serverUrl, ServerAddresses: [...state.addresses].sort() };
  return writeIfChanged(path, JSON.stringify(value, null, 2));
}
