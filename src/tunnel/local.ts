import { connect } from 'node:net';
import { authorizeDial, type EgressFacts } from './authorizer.ts';
import type { OpenLocal } from './connections.ts';

const DIAL_MS = 60_000;

export interface LocalDialOptions {
  facts: () => EgressFacts;
  /** Where the kubelet listens (`--bind-address`); an unspecified address is dialled as the server asked. */
  kubeletAddress: () => string;
}

/**
 * Opens the local side of a Connect. The original ends the whole session on a refused address; here only that
 * connection gets the Error, which servers of every version take as its end, so that one odd request does not cut
 * everybody's logs.
 */
export function localDialer(options: LocalDialOptions): OpenLocal {
  return (proto, address) => {
    const decision = authorizeDial(options.facts(), proto, address);
    if (!decision.allowed) return 'connect not allowed';
    const { port, kubelet } = decision;
    const bound = options.kubeletAddress();
    const host = kubelet && !['', '0.0.0.0', '::'].includes(bound) ? bound : decision.host;
    const socket = connect({ host, port, noDelay: true });
    const timer = setTimeout(() => socket.destroy(new Error(`dial tcp ${address}: i/o timeout`)), DIAL_MS).unref();
    socket.once('connect', () => clearTimeout(timer));
    socket.once('close', () => clearTimeout(timer));
    return socket;
  };
}
