import { createHash, createPublicKey, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import { K, kindByName } from '../kinds.ts';
import { type Dict, isDict } from '../objects.ts';
import type { Registry } from '../registry/registry.ts';
import { badRequest, conflict, invalid, invalidValue, notFound } from '../status.ts';
import type { User } from './identity.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
export const API_AUDIENCES: readonly string[] = [ISSUER, 'k3s'];

interface Bound {
  kind?: string;
  apiVersion?: string;
  name?: string;
  uid?: string;
}

interface Claims {
  aud: string[];
  exp: number;
  iat: number;
  iss: string;
  jti: string;
  nbf: number;
  sub: string;
  'kubernetes.io': {
    namespace: string;
    serviceaccount: { name: string; uid: string };
    pod?: { name: string; uid: string };
    secret?: { name: string; uid: string };
    node?: { name: string; uid?: string };
  };
}

/** Issues and checks service account tokens: JWTs whose bound objects must still be there. */
export interface TokenIssuer {
  /** Answers a TokenRequest. Throws a StatusError. */
  request(namespace: string, account: string, request: Dict): Dict;
  /** The user behind a token that is valid for one of the audiences, with the audiences in common. */
  authenticate(token: string, audiences: readonly string[]): { user: User; audiences: string[] } | undefined;
  /** The JSON Web Key Set of the signing key. */
  keys(): Dict;
}

const TOKEN_REQUEST = { group: 'authentication.k8s.io', plural: 'tokenrequests', kind: 'TokenRequest' };

export function createTokenIssuer(deps: { registry: Registry; key: KeyObject }): TokenIssuer {
  const { registry, key } = deps;
  const publicKey = createPublicKey(key);
  const keyId = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url');

  function boundObject(namespace: string, bound: Bound) {
    const kind = kindByName(bound.apiVersion ?? 'v1', bound.kind ?? '');
    if (!kind || !['Pod', 'Secret', 'Node'].includes(kind.kind))
      throw badRequest(`cannot bind token to object of type ${bound.kind}`);
    const object = registry.store.get(kind, kind.namespaced ? namespace : undefined, bound.name ?? '');
    if (!object) throw notFound(kind, bound.name ?? '');
    if (bound.uid && bound.uid !== object.metadata.uid)
      throw conflict(
        kind,
        bound.name ?? '',
        `the UID in the bound object reference (${bound.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
      );
    return object;
  }

  return {
    request(namespace, account, request) {
      const found = registry.get(K.serviceAccounts, namespace, account);
      const spec = isDict(request.spec) ? request.spec : {};
      const seconds = typeof spec.expirationSeconds === 'number' ? spec.expirationSeconds : 3600;
      if (seconds < 600)
        throw invalid(TOKEN_REQUEST, '', [
          invalidValue('spec.expirationSeconds', seconds, 'may not specify a duration less than 10 minutes'),
        ]);
      const audiences = Array.isArray(spec.audiences) && spec.audiences.length > 0 ? spec.audiences : API_AUDIENCES;
      const bound = isDict(spec.boundObjectRef) ? (spec.boundObjectRef as Bound) : undefined;
      const now = Math.floor(Date.now() / 1000);
      // Tokens of kube-api-access volumes (3607 s) live a year, so that old clients survive (the server's default).
      const extended = seconds === 3607 && audiences === API_AUDIENCES;
      const claims: Claims = {
        aud: audiences as string[],
        exp: now + (extended ? 365 * 86400 : seconds),
        iat: now,
        iss: ISSUER,
        jti: randomUUID(),
        'kubernetes.io': {
          namespace,
          serviceaccount: { name: account, uid: found.metadata.uid ?? '' },
        },
        nbf: now,
        sub: `system:serviceaccount:${namespace}:${account}`,
      };
      if (bound) {
        const object = boundObject(namespace, bound);
        const reference = { name: object.metadata.name ?? '', uid: object.metadata.uid ?? '' };
        if (object.kind === 'Pod') {
          claims['kubernetes.io'].pod = reference;
          const node = (object.spec as { nodeName?: string }).nodeName;
          const uid = node ? registry.store.get(K.nodes, undefined, node)?.metadata.uid : undefined;
          if (node) claims['kubernetes.io'].node = { name: node, ...(uid ? { uid } : {}) };
        } else if (object.kind === 'Secret') claims['kubernetes.io'].secret = reference;
        else claims['kubernetes.io'].node = reference;
      }
      return {
        kind: 'TokenRequest',
        apiVersion: 'authentication.k8s.io/v1',
        metadata: {
          name: account,
          namespace,
          creationTimestamp: new Date(now * 1000).toISOString().replace('.000', ''),
        },
        spec: { audiences, expirationSeconds: seconds, boundObjectRef: bound ?? null },
        status: {
          token: signToken(key, keyId, claims),
          expirationTimestamp: new Date((now + seconds) * 1000).toISOString().replace('.000', ''),
        },
      };
    },
    authenticate(token, audiences) {
      const claims = verifyToken(publicKey, token);
      if (!claims || claims.exp * 1000 < Date.now()) return undefined;
      const common = claims.aud.filter((audience) => audiences.includes(audience));
      if (common.length === 0) return undefined;
      const { namespace, serviceaccount, pod, secret, node } = claims['kubernetes.io'];
      const account = registry.store.get(K.serviceAccounts, namespace, serviceaccount.name);
      if (account?.metadata.uid !== serviceaccount.uid) return undefined;
      if (pod && registry.store.get(K.pods, namespace, pod.name)?.metadata.uid !== pod.uid) return undefined;
      if (secret && registry.store.get(K.secrets, namespace, secret.name)?.metadata.uid !== secret.uid)
        return undefined;
      const extra: Record<string, string[]> = { 'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`] };
      if (node) extra['authentication.kubernetes.io/node-name'] = [node.name];
      if (node?.uid) extra['authentication.kubernetes.io/node-uid'] = [node.uid];
      if (pod) extra['authentication.kubernetes.io/pod-name'] = [pod.name];
      if (pod) extra['authentication.kubernetes.io/pod-uid'] = [pod.uid];
      return {
        audiences: common,
        user: {
          name: claims.sub,
          uid: serviceaccount.uid,
          groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
          extra,
        },
      };
    },
    keys: () => ({ keys: [{ ...publicKey.export({ format: 'jwk' }), use: 'sig', kid: keyId, alg: 'ES256' }] }),
  };
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function signToken(key: KeyObject, keyId: string, claims: Claims): string {
  const head = `${encode({ alg: 'ES256', kid: keyId })}.${encode(claims)}`;
  return `${head}.${sign('sha256', Buffer.from(head), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

function verifyToken(key: KeyObject, token: string): Claims | undefined {
  const [header = '', claims = '', signature = ''] = token.split('.');
  const data = Buffer.from(`${header}.${claims}`);
  try {
    const good = verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'));
    return good ? (JSON.parse(Buffer.from(claims, 'base64url').toString()) as Claims) : undefined;
  } catch {
    return undefined;
  }
}
