import { AgentError, type Clock, type Logger, orAbort } from '../../core/index.ts';
import { Informer, isNotFound, type KubeObject } from '../../kube/index.ts';
import { matches, type Requirement } from '../admission/selector.ts';
import type { ReferenceApi } from './reference.ts';

/** What a projected clusterTrustBundle source asks for. */
export interface TrustBundleWish {
  name?: string;
  signerName?: string;
  /** Nothing: matches no bundle; empty: all of the signer. */
  labelSelector?: { matchLabels?: Record<string, string>; matchExpressions?: Requirement[] };
  optional?: boolean;
}

export interface TrustBundles {
  /**
   * The trust anchors as PEM, each once. Throws AgentError `REFERENCE_ABSENT`, or `REFERENCE_UNKNOWN` if the server does
   * not say; upstream's texts.
   */
  get(wish: TrustBundleWish, signal: AbortSignal): Promise<string>;
  stop(): Promise<void>;
}

interface Bundle extends KubeObject {
  spec?: { signerName?: string; trustBundle?: string };
}

const GROUP = '/apis/certificates.k8s.io';
/** Newest first; before 1.33 there is only the last. */
const VERSIONS = ['v1beta1', 'v1alpha1'];
const SYNC_MS = 10_000;

/**
 * ClusterTrustBundles of the server, followed from the first pod on that wants one (kubelet pkg/kubelet/
 * clustertrustbundle). Servers have them from 1.27 on, if the feature gate ClusterTrustBundle and one of the API
 * versions is switched on. `changed` is called after each change of any of them.
 */
export function createTrustBundles(options: {
  client: ReferenceApi;
  clock: Clock;
  log: Logger;
  changed(): void;
}): TrustBundles {
  const { client, clock, log, changed } = options;
  const abort = new AbortController();
  let informer: Promise<Informer<Bundle>> | undefined;

  async function begin(): Promise<Informer<Bundle>> {
    const path = await pathOf(client, abort.signal);
    const made = new Informer<Bundle>({
      client,
      path,
      clock,
      log,
      transform: ({ metadata: { name, uid, labels, resourceVersion } = {}, spec }) => ({
        metadata: {
          ...(name !== undefined && { name }),
          ...(uid !== undefined && { uid }),
          ...(labels && { labels }),
          ...(resourceVersion !== undefined && { resourceVersion }),
        },
        spec: { signerName: spec?.signerName ?? '', trustBundle: spec?.trustBundle ?? '' },
      }),
    });
    await made.start(abort.signal);
    made.subscribe(() => {
      if (made.synced) changed();
    });
    return made;
  }

  async function bundles(signal: AbortSignal): Promise<readonly Bundle[]> {
    informer ??= begin().catch((error) => {
      informer = undefined;
      throw error;
    });
    const current = await orAbort(informer, signal);
    const late = AbortSignal.any([signal, AbortSignal.timeout(SYNC_MS)]);
    await orAbort(current.whenSynced(), late).catch(() => signal.throwIfAborted());
    if (!current.synced) throw unknown('ClusterTrustBundle informer has not yet synced');
    return current.list();
  }

  return {
    async get(wish, signal) {
      const found = select(await bundles(signal), wish);
      if (found.length === 0 && wish.optional !== true)
        throw new AgentError({
          code: 'REFERENCE_ABSENT',
          message:
            wish.name === undefined
              ? 'combination of signerName and labelSelector matched zero ClusterTrustBundles'
              : `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "${wish.name}" not found`,
        });
      return anchorsOf(found.map(({ spec }) => spec?.trustBundle ?? ''));
    },
    async stop() {
      abort.abort();
      await informer?.then((made) => made.stop()).catch(() => {});
    },
  };
}

async function pathOf(client: ReferenceApi, signal: AbortSignal): Promise<string> {
  for (const version of VERSIONS) {
    const path = `${GROUP}/${version}/clustertrustbundles`;
    try {
      await client.get(path, { query: { limit: 1 }, signal });
      return path;
    } catch (error) {
      if (!isNotFound(error))
        throw unknown(`failed to ensure informer manager for ClusterTrustBundles: ${(error as Error).message}`, error);
    }
  }
  throw unknown(
    'the server has no ClusterTrustBundles: it needs the feature gate ClusterTrustBundle and certificates.k8s.io/v1beta1 (v1alpha1 before 1.33) enabled',
  );
}

function select(all: readonly Bundle[], { name, signerName, labelSelector }: TrustBundleWish): Bundle[] {
  if (name !== undefined) return all.filter(({ metadata }) => metadata.name === name);
  if (labelSelector === undefined) return [];
  const required = Object.entries(labelSelector.matchLabels ?? {});
  return all.filter(({ metadata: { labels = {} }, spec }) => {
    if (spec?.signerName !== signerName) return false;
    if (!required.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)) return false;
    return (labelSelector.matchExpressions ?? []).every((requirement) => matches(requirement, labels));
  });
}

/** Certificates of PEM texts, each once, in an order that does not depend on the bundles'. */
export function anchorsOf(texts: readonly string[]): string {
  const found = new Set<string>();
  for (const text of texts)
    for (const [, body = ''] of text.matchAll(
      /-----BEGIN [A-Z0-9 ]+-----([\sA-Za-z0-9+/=]*?)-----END [A-Z0-9 ]+-----/g,
    ))
      found.add(Buffer.from(body, 'base64').toString('base64'));
  return [...found]
    .sort()
    .map((body) => `-----BEGIN CERTIFICATE-----\n${body.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`)
    .join('');
}

function unknown(message: string, cause?: unknown): AgentError {
  return new AgentError({ code: 'REFERENCE_UNKNOWN', message, cause });
}
