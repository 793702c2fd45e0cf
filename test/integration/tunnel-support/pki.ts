import { createPublicKey } from 'node:crypto';
import { createCa, issue, keyPem, newKey } from '../../standin/pki/certificates.ts';

/** A server and a client authority with one certificate each, as a k3s server and its node `n1` have them. */
export interface TestPki {
  serverCa: string;
  clientCa: string;
  server: { cert: string; key: string };
  node: { cert: string; key: string };
}

export function makePki(names: readonly string[], nodeName = 'n1'): TestPki {
  const serverCa = createCa('test-server-ca');
  const clientCa = createCa('test-client-ca');
  const leaf = (
    ca: typeof serverCa,
    subject: { commonName: string; organizations?: string[] },
    usage: 'server' | 'client',
  ) => {
    const key = newKey();
    return { cert: issue(ca, { subject, publicKey: createPublicKey(key), usage, names }), key: keyPem(key) };
  };
  return {
    serverCa: serverCa.cert,
    clientCa: clientCa.cert,
    server: leaf(serverCa, { commonName: 'k3s' }, 'server'),
    node: leaf(clientCa, { commonName: `system:node:${nodeName}`, organizations: ['system:nodes'] }, 'client'),
  };
}
