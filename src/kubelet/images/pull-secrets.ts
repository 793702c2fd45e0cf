import type { Pod, Secret } from '../../kube/index.ts';
import { rulesOf } from './keyring.ts';

export interface PullSecrets {
  rules: ReturnType<typeof rulesOf>;
  /** Names of secrets that could not be had. */
  missing: string[];
}

/** The credentials of a pod's imagePullSecrets. A secret that is absent or broken is only left out. */
export async function readPullSecrets(
  pod: Pod,
  read: (namespace: string, name: string) => Promise<Secret>,
): Promise<PullSecrets> {
  const out: PullSecrets = { rules: [], missing: [] };
  const namespace = pod.metadata.namespace ?? '';
  const names = (pod.spec.imagePullSecrets ?? []).map((ref) => ref?.name).filter((name) => typeof name === 'string');
  for (const name of names.slice(0, 64)) {
    try {
      const { data = {} } = await read(namespace, name);
      const text = data['.dockerconfigjson'] ?? data['.dockercfg'];
      if (text !== undefined) out.rules.push(...rulesOf(JSON.parse(Buffer.from(text, 'base64').toString('utf8'))));
    } catch {
      out.missing.push(name);
    }
  }
  return out;
}
