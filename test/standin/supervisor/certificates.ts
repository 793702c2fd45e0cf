import { createPublicKey, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import type { Authority } from '../pki/authority.ts';
import { csrPublicKey, issue, keyPem, type LeafRequest } from '../pki/certificates.ts';
import { internal } from '../status.ts';

export interface CertificateRequest {
  /** What is asked for: the last part of the path, without `.crt`. */
  route: 'serving-kubelet' | 'client-kubelet' | 'client-kube-proxy' | 'client-k3s-controller';
  method: string;
  /** PKCS#10, DER. */
  body: Buffer;
  node?: string;
  /** From `k3s-Node-IP`. */
  addresses?: string;
  /** Servers of old versions ignore the request and hand out their own key. */
  old: boolean;
}

/** The PEM text a certificate route answers: leaf, CA bundle and, without a usable request, the shared key. */
export function answerCertificate(authority: Authority, request: CertificateRequest): string {
  const own = request.old || request.method !== 'POST' ? undefined : requestKey(request.body);
  const publicKey = own ?? createPublicKey(authority.sharedKubeletKey);
  const ca = request.route === 'serving-kubelet' ? authority.serverCa : authority.clientCa;
  const leaf = issue(ca, { ...contents(request), publicKey });
  return leaf + ca.cert + (own === undefined ? keyPem(authority.sharedKubeletKey) : '');
}

function requestKey(body: Buffer): KeyObject | undefined {
  try {
    return csrPublicKey(body);
  } catch {
    return undefined; // an agent that sends none gets the shared key
  }
}

function contents(request: CertificateRequest): Omit<LeafRequest, 'publicKey'> {
  const node = request.node ?? '';
  switch (request.route) {
    case 'serving-kubelet': {
      const addresses = (request.addresses ?? '').split(',').filter((text) => text !== '');
      for (const address of addresses) if (!isIP(address)) throw internal('invalid node IP address <nil>');
      return {
        subject: { commonName: node },
        usage: 'server',
        names: [node, 'localhost', '127.0.0.1', ...(request.old ? [] : ['::1']), ...addresses],
      };
    }
    case 'client-kubelet':
      return { subject: { commonName: `system:node:${node}`, organizations: ['system:nodes'] }, usage: 'client' };
    case 'client-kube-proxy':
      return { subject: { commonName: 'system:kube-proxy' }, usage: 'client' };
    case 'client-k3s-controller':
      return { subject: { commonName: 'system:k3s-controller' }, usage: 'client' };
  }
}
